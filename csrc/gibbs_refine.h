// Topics by expected counts, at the end of a run of the `gibbs` kernel (collapsed LDA).
//
// A sample gives each token one topic; this gives it all of them, by their probabilities. With n_dk the
// tokens of document d in topic k in the sample, and token i itself taken out of them, the probability of
// word w_i given the rest of its document is about
//
//     p_i = sum_k (n_dk + alpha_k) phi_wk / (N_d - 1 + sum alpha),    phi_wk = (m_wk + eta) / (m_k + V eta)
//
// and expectation maximization (Dempster, Laird and Rubin 1977) over phi raises prod_i p_i, times the
// Dirichlet prior that eta stands for, where the n_dk stay those of the sample:
//
//     m_wk <- sum over tokens i of w of (n_dk + alpha_k) phi_wk / sum_l (n_dl + alpha_l) phi_wl
//
// The first step from a sample's own counts is the estimator CGS_p of Papanikolaou et al. (JMLR 2017), but
// for the token's own count in m. A round takes word after word, kSteps steps each while its row stays in the
// nearest cache, under the totals m_k of the round before. Two steps are safe: where documents tell nothing,
// r steps under the same totals send m_k to m_k^(1 - r), so that more than two let totals swing ever wider.
//
// A step costs a token as many multiplications as its document has topics, since what does not depend on the
// document is taken out of the sum: sum_l n_dl phi_wl, over the topics of d, + sum_l alpha_l phi_wl, once.
//
// All sums are float64, in an order that the source fixes: the same bits at any number of threads and any
// vector width, and the token itself can be taken off the sum over its document. Memory beside the corpus: at
// most 14 bytes a token.
#pragma once

#include <cstdint>

#include "gibbs.h"

namespace radfast::gibbs {

constexpr int kSteps = 2;

// Takes `expected` (R, stride), the counts of a sample or of several in the mean, through n_rounds rounds.
// Columns from K on are 0 and stay so.
void refine(const Corpus& corpus, const Model& model, const uint16_t* topics, float* expected,
            int64_t n_rounds, int threads);

}  // namespace radfast::gibbs
