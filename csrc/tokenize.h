// Texts to a vocabulary and a CSR corpus of word numbers.
//
// Every thread numbers the words of its texts in a table of its own; at the end the tables are merged, words
// are ranked by descending count, then by bytes, and the numbers are replaced. So the result does not depend
// on the number of threads or on how the texts were handed out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sentences.h"
#include "tokenize_classify.h"
#include "tokenize_words.h"

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

// Memory that is not touched before it is written.
template <class T>
struct Array {
    std::unique_ptr<T[]> data;
    size_t size = 0;

    Array() = default;
    explicit Array(size_t n) : data(new T[n]), size(n) {}
};

// D documents, T tokens, V words, S sentences.
struct TokenCorpus {
    std::vector<int64_t> indptr;            // D + 1
    Array<int32_t> tokens;                  // T
    Array<uint32_t> spans;                  // 2 T, or none
    std::vector<int64_t> sentences;         // S + 1: tokens before each sentence, or empty
    std::vector<int64_t> sentence_indptr;   // D + 1: sentences before each document, or empty
    std::vector<std::string> vocabulary;    // V, by descending count, then by bytes
    std::vector<uint64_t> counts;           // V
    std::vector<uint64_t> document_counts;  // V
    uint64_t invalid = 0;                   // invalid UTF-8 sequences seen
};

class CorpusBuilder {
  public:
    // With a vocabulary, words outside it are dropped and its numbers are used; without, it is learned.
    CorpusBuilder(TokenRules rules, unsigned threads);
    CorpusBuilder(TokenRules rules, unsigned threads, const std::vector<std::string>& vocabulary);
    ~CorpusBuilder();

    // Adds documents in order. The texts need to live for the call only; each is shorter than 2^32 bytes.
    void add(const std::vector<std::string_view>& texts);

    uint64_t documents() const;

    // Ends the corpus; the builder is empty afterwards.
    TokenCorpus finish(const PruneRules& rules);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace radfast
