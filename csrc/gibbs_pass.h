// What the passes of gibbs.h read and write, and their entry points for each instruction set.
#pragma once

#include <cstdint>

#include "gibbs.h"

#define RADFAST_INLINE inline __attribute__((always_inline))

namespace radfast::gibbs {

enum Step : uint64_t {
    judge_word = 0,
    propose_word = 1,
    judge_document = 2,
    propose_document = 3,
    sample_dense_document = 1ull << 40,  // those before go by sweep, 4 apart
    join_document,
    sample_sparse_document,
};

constexpr int kPadding = 16;       // entries a vector may touch behind an array
constexpr uint32_t kInOrder = 8;   // units up to this length are judged token after token
constexpr int64_t kPrefetch = 64;  // tokens ahead of the document pass

// Alpha as the document pass uses it. Where it is not the same for all topics, topic k is drawn from its
// share by an alias table (Vose 1991): k itself while 32 random bits are below keep[k], else instead[k].
struct Prior {
    float value;  // of all topics, where `values` is null
    double sum;
    const float* values;      // (K,)
    const uint32_t* keep;     // (K,)
    const uint32_t* instead;  // (K,)
};

struct Pass {
    const Corpus* corpus;
    const Model* model;
    const Prior* alpha;
    const Prior* eta;
    const int64_t* row_start;  // (R+1,) first record of a row
    const uint32_t* position;  // (T,) record of a token
    const float* inverse;      // (G, stride) 1 / (n_k + V eta)
    const int32_t* totals;     // (G, stride) n_k
    uint64_t* records;         // (T,)
    int64_t sweep;
    bool only_propose;
};

// Arrays of one thread.
struct Scratch {
    int32_t* counts;                // (stride,) all 0 between units
    int32_t *tally, *second_tally;  // (G, stride) their sum counts the new topics of the pass
    uint32_t* fresh;                // (longest unit + kPadding,) new topics
    uint64_t* records;              // (longest document + kPadding,)
};

// What a unit is judged by: rows of its group.
struct Bench {
    int32_t* counts;
    uint32_t* fresh;
    int32_t *tally, *second_tally;
    const float* inverse;
    const int32_t* totals;
    const Prior* prior;
    float smoothing;
    uint32_t n_topics;
};

// Units first..last-1 of a pass.
using Work = void (*)(const Pass& pass, int64_t first, int64_t last, Scratch& scratch);

#define RADFAST_DECLARE(isa)                                      \
    namespace isa {                                               \
    void work_words(const Pass&, int64_t, int64_t, Scratch&);     \
    void work_documents(const Pass&, int64_t, int64_t, Scratch&); \
    }
RADFAST_DECLARE(portable)
#if defined(__x86_64__) && defined(__GNUC__)
RADFAST_DECLARE(avx2)
RADFAST_DECLARE(avx512)
#endif
#undef RADFAST_DECLARE

}  // namespace radfast::gibbs
