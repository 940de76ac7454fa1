// One thread of the tokenizer: documents to numbers of its own table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenize.h"
#include "tokenize_fold.h"
#include "tokenize_keys.h"
#include "tokenize_scan.h"
#include "tokenize_store.h"
#include "tokenize_words.h"

namespace radfast {

class Worker {
  public:
    // With a vocabulary, its numbers are used and nothing is counted.
    Worker(const TokenRules& rules, const WordTable* vocabulary);

    // Appends a document to the unit.
    void process(std::string_view text, Unit& unit);

    WordTable& words() { return words_; }
    uint64_t invalid() const { return scanner_.invalid(); }

  private:
    template <bool learns>
    void look_up(std::string_view text, const uint32_t* first, const uint32_t* length, size_t count,
                 Unit& unit);
    uint32_t number_of(std::string_view token);
    void close_sentences(std::string_view text, size_t start, Unit& unit);

    const TokenRules& rules_;
    const WordTable* vocabulary_;
    WordTable words_;
    Folder folder_;
    Scanner scanner_;
    const uint32_t shortest_;  // bytes below which no token is a word
    const KeyRules key_rules_;
    const MakeKeys make_keys_;
    uint32_t document_ = 0;
    uint64_t until_flush_;
    Keys keys_;
    Buffer<uint32_t> places_;  // first bytes of the numbered tokens of a document, where sentences are kept
    std::vector<Span> sentences_;
};

}  // namespace radfast
