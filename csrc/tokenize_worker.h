// One thread of the tokenizer: documents to numbers of its own table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenize.h"
#include "tokenize_fold.h"
#include "tokenize_scan.h"
#include "tokenize_words.h"

namespace radfast {

// What a run of documents gave. Numbers are those of the worker's table, or final where a vocabulary was
// given.
struct Unit {
    unsigned worker = 0;
    std::vector<uint32_t> numbers;
    std::vector<uint32_t> spans;               // two per number, where kept
    std::vector<uint32_t> document_tokens;     // per document
    std::vector<uint32_t> sentence_tokens;     // per sentence, where kept
    std::vector<uint32_t> document_sentences;  // per document, where kept
};

class Worker {
  public:
    // With a vocabulary, its numbers are used and nothing is counted.
    Worker(const TokenRules& rules, const WordTable* vocabulary);

    void process(const std::string_view* texts, size_t count, Unit& unit);

    const WordTable& words() const { return words_; }
    uint64_t invalid() const { return scanner_.invalid(); }

  private:
    struct Key {
        uint64_t a, b, hash;
    };

    void document(std::string_view text, Unit& unit);
    void look_up(std::string_view text, const TokenSpan* tokens, size_t count, Unit& unit);
    bool make_key(std::string_view text, TokenSpan token, Key& key) const;
    uint32_t number_of(const WordKey& key, uint64_t hash);
    void close_sentences(uint32_t before, uint32_t tokens, Unit& unit);
    uint32_t start_after(size_t sentence) const;

    const TokenRules& rules_;
    const WordTable* vocabulary_;
    WordTable words_;
    Folder folder_;
    Scanner scanner_;
    bool special_[256] = {};  // first bytes of tokens that may be placeholders or numbers
    uint32_t document_ = 0;
    uint64_t until_flush_;
    size_t start_ = 0;  // of the document in its unit
    std::vector<Span> sentences_;
    size_t sentence_ = 0;
    uint32_t sentence_start_ = 0;
    uint32_t next_sentence_ = UINT32_MAX;
};

}  // namespace radfast
