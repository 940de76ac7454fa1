// The words of all threads to one ranked vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include "tokenize.h"
#include "tokenize_words.h"

namespace radfast {

// What the tables become: final_of[table][number] is the rank of a word by descending count, then by bytes,
// and negative where pruning has dropped the word.
struct FinalNumbers {
    std::vector<std::vector<int32_t>> final_of;
    bool drops = false;
};

// Merges the tables and fills the vocabulary of `corpus` and its counts.
FinalNumbers merge_words(const std::vector<const WordTable*>& tables, const PruneRules& rules,
                         unsigned threads, TokenCorpus& corpus);

}  // namespace radfast
