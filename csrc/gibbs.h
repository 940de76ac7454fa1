// Metropolis-Hastings passes of the `gibbs` kernel (collapsed LDA), O(1) per token at any number of topics.
//
// Target for token i of document d, word w (counts without the token itself):
//     p(k) ~ (n_dk + alpha_k) (n_wk + eta) / (n_k + V eta)
// A sweep is a pass over words and a pass over documents (WarpLDA: Chen et al., VLDB 2016). Both do the same
// with a unit, which is the tokens of one word or of one document, and its concentrations a_k, which are eta
// or alpha_k:
//   1. each token runs through its 3 proposals, drawn from the other kind of unit, and moves from s to t with
//      probability min(1, f(t) / f(s)), f(k) = (n_uk + a_k) / (n_k + V eta), the token's own count removed
//      exactly;
//   2. each token draws 3 proposals from its unit: the topic of another of its tokens with probability
//      (n - 1) / (n - 1 + sum a), else a topic by its a_k (an alias table where they differ). That is
//      q(k) ~ n_uk + a_k without the token: no table of the unit is needed.
// The counts n_uk are those at the start of the unit; in units of up to 8 tokens, where that would be felt,
// they are exact at every token. The counts of the other kind of unit are those the proposals were drawn
// from, n_k those at the start of the pass (delayed counts); the tests say how far that is from the exact
// chain.
//
// Memory: one record of 8 bytes per token, (topic, 3 proposals) as uint16, word-major, and its position, 4
// bytes. Random numbers: hashed from (seed, sweep, unit, place in the unit, draw); every operation is exact
// integer or single IEEE float32, so that results are the same bits at any number of threads and any vector
// width.
#pragma once

#include <cstdint>
#include <functional>

namespace radfast::gibbs {

struct Corpus {
    const int64_t* indptr;          // (D+1,) document d owns tokens indptr[d]..indptr[d+1]-1
    const int32_t* rows;            // (T,) row of each token
    const int32_t* document_group;  // (D,)
    const int32_t* row_group;       // (R,)
    int64_t n_documents, n_tokens;
    int32_t n_rows, n_groups;
};

struct Model {
    int32_t n_topics;       // K, 1 to 65535
    int32_t stride;         // columns of totals
    const double* alpha;    // (K,)
    double eta, smoothing;  // smoothing is V eta
    uint64_t seed;
};

// Asked after every sweep, on the thread of the call; false ends the run there, all counts in order.
using Proceed = std::function<bool()>;

// Advances `topics` (T,), `word_topic` (R, stride) and `totals` (G, stride) by n_sweeps sweeps, the first of
// them numbered `first_sweep`. T must be below 2^32. The counts after every sweep are added to `sums`
// (R, stride) if it is not null.
void sample_mh(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
               int32_t* totals, int32_t* sums, int64_t first_sweep, int64_t n_sweeps, int threads,
               const Proceed& proceed);

// The same by dense or sparse sweeps over the documents from `first_document` on: see gibbs_dense.h. With
// `joining` the tokens of those documents are in no count yet and are given their first topics (dense only).
// `sums` as above, of tokens of those documents.
void sample_dense(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
                  int32_t* totals, int32_t* sums, int64_t first_sweep, int64_t n_sweeps,
                  int64_t first_document, bool joining, bool sparse, int threads, const Proceed& proceed);

}  // namespace radfast::gibbs
