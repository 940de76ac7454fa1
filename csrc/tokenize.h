// Texts to a vocabulary and a CSR corpus of word numbers.
//
// Every thread numbers the words of its texts in a table of its own; at the end the tables are merged, words
// are ranked by descending count, then by bytes, and the numbers are replaced. So the result does not depend
// on the number of threads or on how the texts were handed out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sentences.h"
#include "tokenize_classify.h"
#include "tokenize_memory.h"

namespace radfast {

enum class Keep : uint8_t { keep, drop, mask };

struct TokenRules {
    Pattern pattern = Pattern::radiology;
    bool lowercase = true;
    uint32_t min_length = 3;  // characters
    Keep numbers = Keep::keep;
    Keep placeholders = Keep::mask;
    bool keep_spans = false;
    const SentenceRules* sentences = nullptr;  // where given, sentence ends are kept
};

struct PruneRules {
    uint64_t min_documents = 1;
    uint64_t max_documents = UINT64_MAX;
    uint64_t drop_top = 0;
    uint64_t max_vocabulary = UINT64_MAX;
    std::vector<std::string> stop_words;
};

// Words as the bytes of one after the other, the first from byte 0.
struct WordList {
    Region bytes;
    Region ends;      // uint64, for each word the byte behind it
    size_t size = 0;  // words

    void resize(size_t words, size_t all_bytes) {
        bytes = Region(all_bytes);
        ends = Region(words * sizeof(uint64_t));
        size = words;
    }
    // Writes a word at byte `at`; returns the byte behind it.
    uint64_t put(size_t i, uint64_t at, std::string_view word) {
        std::copy(word.begin(), word.end(), bytes.data() + at);
        return reinterpret_cast<uint64_t*>(ends.data())[i] = at + word.size();
    }
    bool operator==(const WordList& other) const {
        const auto same = [](const Region& a, const Region& b) {
            return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
        };
        return same(bytes, other.bytes) && same(ends, other.ends);
    }
};

// D documents, T tokens, V words, S sentences. The regions are empty where the corpus went to a folder.
struct TokenCorpus {
    Region indptr;           // int64, D + 1
    Region tokens;           // int32, T
    Region spans;            // uint32, 2 T, where kept
    Region sentences;        // int64, S + 1: tokens before each sentence, where kept
    Region sentence_indptr;  // int64, D + 1: sentences before each document, where kept
    uint64_t n_documents = 0, n_tokens = 0, n_sentences = 0;
    WordList vocabulary;                    // V, by descending count, then by bytes
    std::vector<uint64_t> counts;           // V
    std::vector<uint64_t> document_counts;  // V
    uint64_t invalid = 0;                   // invalid UTF-8 sequences seen
};

// What a builder is given.
struct CorpusOptions {
    TokenRules rules;
    unsigned threads = 1;
    // Where given, words outside it are dropped and its numbers are used; else the words are learned.
    const std::vector<std::string>* vocabulary = nullptr;
    // Where given, arrays are written there as <name>.npy.part, without their heads of Column::kHead bytes.
    std::string folder;
};

class CorpusBuilder {
  public:
    explicit CorpusBuilder(const CorpusOptions& options);
    ~CorpusBuilder();

    // Adds documents in order; each is shorter than 2^32 - 1 bytes. Returns once all that was added before is
    // done: the texts need to live until the next call of this object has returned.
    void add(std::vector<std::string_view> texts);

    // Adds the lines of a file, with their line breaks, as documents.
    void add_lines(const std::string& path);

    // Waits for all that was added; returns the number of documents.
    uint64_t wait();

    // Ends the corpus, and the use of the builder.
    TokenCorpus finish(const PruneRules& rules);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace radfast
