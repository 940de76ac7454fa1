// Where the numbers of a corpus are gathered: in memory, or in files so that memory stays flat.
//
// Workers hand in units (runs of documents) as they finish them; the store puts them in the order of their
// texts, each once the place of the one before it is known. renumber() then replaces the workers' numbers by
// final ones where they lie.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "tokenize_memory.h"

namespace radfast {

// What a run of documents gave. Numbers are those of the worker's table, or final where a vocabulary was
// given. Ends count from the start of the unit.
struct Unit {
    unsigned worker = 0;
    Buffer<uint32_t> numbers;
    Buffer<uint32_t> spans;              // first and last byte per number, where kept
    Buffer<int64_t> document_ends;       // tokens up to the end of each document
    Buffer<int64_t> sentence_ends;       // tokens up to the end of each sentence, where kept
    Buffer<int64_t> document_sentences;  // sentences up to the end of each document, where kept

    void clear();
};

// Bytes that threads write at places of their own, in memory or in a file.
class Column {
  public:
    Column() = default;
    // In a file, behind a head of kHead bytes that is left to the reader of the file.
    explicit Column(const std::string& path);
    ~Column();
    Column(const Column&) = delete;
    Column& operator=(const Column&) = delete;

    static constexpr size_t kHead = 128;

    bool in_file() const { return file_ >= 0; }
    // Makes room, so that bytes [0, size) may be written.
    void reserve(size_t size);
    void write(size_t at, const void* data, size_t bytes);
    void read(size_t at, void* data, size_t bytes) const;
    char* memory() const { return memory_.data(); }
    // Ends the column at `size` bytes. The memory may be taken then.
    void end(size_t size);
    Region take() { return std::move(memory_); }

  private:
    int file_ = -1;
    std::string path_;
    Region memory_;
    std::shared_mutex moves_;
};

class CorpusStore {
  public:
    // With a folder the columns are the files <folder>/<column>.part.
    CorpusStore(const std::string& folder, bool sentences, bool spans);

    // An empty unit for the texts of rank `order`; waits while too many units before it are missing.
    std::unique_ptr<Unit> start(uint64_t order);
    void put(uint64_t order, std::unique_ptr<Unit> unit);
    // Wakes all who wait: start() throws from now on.
    void abort();

    // Replaces numbers: final_of[worker][number], negative where the word is dropped. Where none is, `drops`
    // is false and every number stays at its place.
    void renumber(const std::vector<std::vector<int32_t>>& final_of, bool drops, unsigned threads);
    // To be called last; columns have their final sizes then.
    void end();

    Column& tokens() { return *tokens_; }
    Column& spans() { return *spans_; }
    Column& indptr() { return *indptr_; }
    Column& sentences() { return *sentences_; }
    Column& sentence_indptr() { return *sentence_indptr_; }
    uint64_t n_tokens() const { return n_tokens_; }
    uint64_t n_documents() const { return n_documents_; }
    uint64_t n_sentences() const { return n_sentences_; }
    bool has_sentences() const { return sentences_ != nullptr; }
    bool has_spans() const { return spans_ != nullptr; }

  private:
    struct Placed {
        unsigned worker;
        uint64_t tokens, first_token;
        uint64_t sentences, first_sentence;
        uint64_t documents, first_document;
    };
    class Renumbered;

    Placed place(const Unit& unit);
    void write(const Placed& placed, Unit& unit);
    void replace_unit(const Placed& placed, const std::vector<int32_t>& final_of, Buffer<uint32_t>& copy);
    void renumber_unit(const Placed& placed, const std::vector<int32_t>& final_of, Renumbered& work);
    void move_unit(const Placed& placed, uint64_t first_token, Renumbered& work);

    std::unique_ptr<Column> tokens_, spans_, indptr_, sentences_, sentence_indptr_;
    uint64_t n_tokens_ = 0, n_documents_ = 0, n_sentences_ = 0;
    std::vector<Placed> placed_;

    std::mutex guard_;
    std::condition_variable moved_on_;
    uint64_t next_ = 0;
    bool aborted_ = false;
    std::map<uint64_t, std::unique_ptr<Unit>> waiting_;
    std::vector<std::unique_ptr<Unit>> idle_;
};

}  // namespace radfast
