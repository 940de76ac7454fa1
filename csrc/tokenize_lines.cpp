#include "tokenize_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace radfast {

namespace {

constexpr size_t kBeyond = 16 << 10;  // bytes read at first to end a line

[[noreturn]] void throw_unreadable(const std::string& path, int error) {
    throw std::invalid_argument("[Tokenizer.fit_files] " + path +
                                " cannot be read: " + std::generic_category().message(error));
}

}  // namespace

LineFile::LineFile(const std::string& path) : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), path_(path) {
    struct stat about;
    if (file_ < 0) throw_unreadable(path, errno);
    if (fstat(file_, &about) != 0) {
        const int error = errno;
        close(file_);
        throw_unreadable(path, error);
    }
    size_ = static_cast<uint64_t>(about.st_size);
}

LineFile::~LineFile() { close(file_); }

bool LineFile::Window::next_line(size_t& at, bool beyond) {
    for (size_t seen = at;;) {
        if (seen < filled) {
            const void* end = std::memchr(buffer.data() + seen, '\n', filled - seen);
            if (end) {
                at = static_cast<size_t>(static_cast<const char*>(end) - buffer.data()) + 1;
                return true;
            }
        }
        seen = filled;
        if (filled - at >= UINT32_MAX) {
            throw std::length_error("[Tokenizer] a line must be shorter than 2^32 - 1 bytes");
        }
        if (!read_on(beyond)) {
            at = filled;
            return false;
        }
    }
}

bool LineFile::Window::read_on(bool beyond) {
    const uint64_t from = origin + filled;
    uint64_t stop = from < wanted ? wanted : beyond ? from + std::max(filled, kBeyond) : from;
    stop = std::min(stop, file.size_);
    if (from >= stop) return false;
    const auto bytes = static_cast<size_t>(stop - from);
    buffer.set_size(filled);
    char* const to = buffer.reserve(bytes);
    for (size_t done = 0; done < bytes;) {
        const ssize_t part = pread(file.file_, to + done, bytes - done, static_cast<off_t>(from + done));
        if (part < 0 && errno == EINTR) continue;
        if (part <= 0) throw_unreadable(file.path_, part < 0 ? errno : EIO);
        done += static_cast<size_t>(part);
    }
    filled += bytes;
    buffer.set_size(filled);
    return true;
}

}  // namespace radfast
