// Dense and sparse sweeps of the `gibbs` kernel (collapsed LDA): a dense one weighs all K topics for every
// token, a sparse one those of the document (gibbs_sparse_unit.h); both draw from
//
//     p(k) ~ (n_dk + alpha_k) (n_wk + eta) / (n_k + V eta)          counts without the token itself
//
// Documents are sampled in parallel, each token after token. The counts of the document are exact, and so is
// the removal of the token's own count; the counts of words and topics are those at the start of a batch of
// documents (delayed counts: Newman et al. 2009). A sweep has kBatches batches of about as many tokens; the
// counts are brought up to date after each.
//
// Topics lie in the lanes of the vector unit. Weights of the 16 lanes are summed block after block (the
// running sums stay in memory), then across the lanes in a fixed order; a uniform number picks the lane and
// then the block. The token's own topic is left out of the lanes and stands behind them, with its counts less
// one. What the document gives a topic is kept multiplied by 1 / (n_k + V eta) and mended number by number.
//
// Two documents are walked at a time, sums of both before draws of both: a draw waits for one number after
// another, and what has been mended is out of the store queue when the next sums read it as a vector.
//
// Threads: each has the same documents in every sweep (gibbs_deal.h says why), lists the tokens that move in
// memory of its own (gibbs_moves.h), and of a small table there are two, each written by its own threads.
//
// Random numbers: hashed from (seed, sweep, document, place), float32 arithmetic in an order that the source
// fixes: the same bits at any number of threads and any vector width.
#pragma once

#include <cstdint>

#include "gibbs.h"
#include "gibbs_deal.h"
#include "gibbs_moves.h"

namespace radfast::gibbs {

constexpr int kBatches = 16;
constexpr int kBlock = 16;  // topics that are weighed together; columns of the tables are a multiple of it

struct DensePass {
    const Corpus* corpus;
    const Model* model;
    const float* alpha;         // (stride,) 0 from column K on
    const int32_t* word_topic;  // (R, stride) n_wk
    const float* inverse;       // (G, stride) 1 / (n_k + V eta), 0 from column K on
    const float* inverse_less;  // (G, stride) 1 / (n_k - 1 + V eta)
    uint16_t* topics;           // (T,)
    MovePool* moves;
    int64_t sweep;
    bool joining;        // the tokens are in no count yet
    const float* prior;  // (R,) sum_k alpha_k (n_wk + eta) / (n_k + V eta) of rows in the batch, where sparse
};

// Arrays of one thread: kWalkers times (stride,) each.
struct DenseScratch {
    float* counts;   // all 0 between documents
    float* weights;  // (n_dk + alpha_k) / (n_k + V eta)
    float* sums;
    uint32_t* list;  // all below stride
    int64_t writer;  // of moves, the first of kWalkers
};

// Where a thread takes its documents from.
struct Feed {
    Deal* deal;
    unsigned thread;

    RADFAST_INLINE bool take(Chunk& chunk) const { return deal->take(thread, chunk); }
};

constexpr int kWalkers = 2;  // documents a thread walks at a time

using DenseWork = void (*)(const DensePass& pass, const Feed& feed, const DenseScratch& scratch);

using PriorWork = float (*)(const DensePass& pass, int32_t row);

#define RADFAST_DECLARE(isa)                                              \
    namespace isa {                                                       \
    void work_dense(const DensePass&, const Feed&, const DenseScratch&);  \
    void work_sparse(const DensePass&, const Feed&, const DenseScratch&); \
    float weigh_prior(const DensePass&, int32_t);                         \
    }
RADFAST_DECLARE(portable)
#if defined(__x86_64__) && defined(__GNUC__)
RADFAST_DECLARE(avx2)
RADFAST_DECLARE(avx512)
#endif
#undef RADFAST_DECLARE

}  // namespace radfast::gibbs
