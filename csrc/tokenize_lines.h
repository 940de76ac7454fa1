// A text file with one document per line, read in pieces that threads take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tokenize_memory.h"

namespace radfast {

class LineFile {
  public:
    // Throws std::invalid_argument where the file cannot be opened.
    explicit LineFile(const std::string& path);
    ~LineFile();
    LineFile(const LineFile&) = delete;
    LineFile& operator=(const LineFile&) = delete;

    uint64_t size() const { return size_; }

    // Calls visit(std::string_view) with every line that starts in [first, last), with its line break.
    // `buffer` is memory to be used again. Throws std::invalid_argument where the file cannot be read,
    // std::length_error where a line has 2^32 - 1 bytes or more.
    template <class Visit>
    void each(uint64_t first, uint64_t last, Buffer<char>& buffer, Visit&& visit) const {
        Window window{*this, first > 0 ? first - 1 : 0, last, buffer};
        size_t at = 0;
        if (first > 0 && !window.next_line(at, false)) return;
        while (window.origin + at < last) {
            const size_t start = at;
            const bool ended = window.next_line(at, true);
            if (at == start) return;
            visit(std::string_view(buffer.data() + start, at - start));
            if (!ended) return;
        }
    }

  private:
    // The part of the file from `origin` on that is in the buffer.
    struct Window {
        const LineFile& file;
        uint64_t origin;
        uint64_t wanted;  // bytes from here on are read only to end a line that starts before
        Buffer<char>& buffer;
        size_t filled = 0;

        // Moves `at` behind the next line break, or to the end where there is none: false. Looks only before
        // `wanted`, or also beyond.
        bool next_line(size_t& at, bool beyond);
        bool read_on(bool beyond);
    };

    int file_;
    uint64_t size_ = 0;
    std::string path_;
};

}  // namespace radfast
