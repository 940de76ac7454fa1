#include "gibbs_refine.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu.h"
#include "gibbs_deal.h"
#include "gibbs_order.h"
#include "team.h"

#define RADFAST_INLINE inline __attribute__((always_inline))

namespace radfast::gibbs::refining {

namespace {

constexpr int kBlock = 16;               // columns of the tables are a multiple of it
constexpr int64_t kAhead = 8;            // entries that documents are asked for in advance
constexpr double kLeast = 1e-300;        // a token weighs more than nothing
constexpr int64_t kDocuments = 1 << 10;  // that a thread takes at a time
constexpr int64_t kTokens = 1 << 14;     // the same
constexpr int64_t kParts = 256;          // of a round, at least

// Tokens of a row that stand in the same document at the same topic.
struct Entry {
    int32_t document;
    uint16_t topic, n_tokens;
};

// Topics of each document and how many tokens are there: document d has start[d]..start[d+1]-1.
struct Mixtures {
    const int64_t* start;
    const uint16_t* topics;
    const float* counts;
};

struct Round {
    Mixtures mixtures;
    const float* alpha;  // (stride,)
    float eta;
    int stride;
};

struct Scratch {
    double *phi, *sums;  // (stride,)
};

}  // namespace

}  // namespace radfast::gibbs::refining

#define RADFAST_ISA portable
#include "gibbs_refine_unit.h"
#undef RADFAST_ISA

#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define RADFAST_ISA avx2
#include "gibbs_refine_unit.h"
#undef RADFAST_ISA
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif
#define RADFAST_ISA avx512
#include "gibbs_refine_unit.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

namespace radfast::gibbs {

namespace {

using namespace refining;

using Work = void (*)(const Round&, const Entry*, int64_t, const float*, float*, double*, const Scratch&);

Work choose_work() {
    switch (current_simd()) {
#if defined(__x86_64__) && defined(__GNUC__)
        case Simd::avx512:
            return avx512::work;
        case Simd::avx2:
            return avx2::work;
#endif
        default:
            return portable::work;
    }
}

class Refinement {
  public:
    Refinement(const Corpus& corpus, const Model& model, const uint16_t* topics, int threads)
        : corpus_(corpus),
          model_(model),
          threads_(threads),
          alpha_(model.stride),
          inverse_(static_cast<int64_t>(corpus.n_groups) * model.stride),
          totals_(inverse_.size()),
          memory_(threads, std::vector<double>(2 * model.stride)),
          work_(choose_work()),
          team_(static_cast<unsigned>(threads)) {
        std::copy(model.alpha, model.alpha + model.n_topics, alpha_.begin());
        list_mixtures(topics);
        list_entries(topics);
        cut_rows();
    }

    void run(float* expected, int64_t n_rounds) {
        const Round round{{mixture_start_.data(), mixture_topics_.data(), mixture_counts_.data()},
                          alpha_.data(),
                          static_cast<float>(model_.eta),
                          model_.stride};
        visit_rows([&](int64_t w, unsigned, double* totals) {
            for (int k = 0; k < model_.stride; ++k) totals[k] += expected[w * model_.stride + k];
        });
        for (int64_t n = 0; n < n_rounds; ++n) {
            invert_totals();
            visit_rows([&](int64_t w, unsigned thread, double* totals) {
                const Scratch scratch{memory_[thread].data(), memory_[thread].data() + model_.stride};
                work_(round, entries_.get() + row_start_[w], row_end_[w] - row_start_[w],
                      inverse_.data() + static_cast<int64_t>(corpus_.row_group[w]) * model_.stride,
                      expected + w * model_.stride, totals, scratch);
            });
        }
    }

  private:
    // Topics of a document in the order in which they occur first.
    void list_mixtures(const uint16_t* topics) {
        mixture_start_.resize(corpus_.n_documents + 1);
        std::vector<std::vector<int32_t>> counts(threads_, std::vector<int32_t>(model_.stride));
        const size_t parts = (corpus_.n_documents + kDocuments - 1) / kDocuments;
        const auto walk = [&](const auto& found) {
            team_.share(parts, [&](unsigned thread, size_t part) {
                const int64_t first = part * kDocuments;
                const int64_t last = std::min<int64_t>(first + kDocuments, corpus_.n_documents);
                int32_t* count = counts[thread].data();
                for (int64_t d = first; d < last; ++d) {
                    const int64_t begin = corpus_.indptr[d], end = corpus_.indptr[d + 1];
                    for (int64_t i = begin; i < end; ++i) ++count[topics[i]];
                    int64_t n = 0;
                    for (int64_t i = begin; i < end; ++i) {
                        if (count[topics[i]] == 0) continue;
                        found(d, n++, topics[i], count[topics[i]]);
                        count[topics[i]] = 0;
                    }
                }
            });
        };
        walk([&](int64_t d, int64_t n, uint16_t, int32_t) { mixture_start_[d + 1] = n + 1; });
        for (int64_t d = 0; d < corpus_.n_documents; ++d) mixture_start_[d + 1] += mixture_start_[d];
        mixture_topics_.resize(mixture_start_.back());
        mixture_counts_.resize(mixture_start_.back());
        walk([&](int64_t d, int64_t n, uint16_t topic, int32_t count) {
            mixture_topics_[mixture_start_[d] + n] = topic;
            mixture_counts_[mixture_start_[d] + n] = static_cast<float>(count);
        });
    }

    // Tokens by row; those that stand side by side in the same document at the same topic become one entry.
    void list_entries(const uint16_t* topics) {
        entries_.reset(new Entry[corpus_.n_tokens]);
        row_start_ =
            sort_by_row(corpus_, model_, team_, threads_, [&](int64_t token, int64_t d, int64_t place) {
                entries_[place] = {static_cast<int32_t>(d), topics[token], 1};
            });
        row_end_.resize(corpus_.n_rows);
        const std::vector<int64_t> edges = cut(row_start_.data(), 0, corpus_.n_rows, kTokens);
        team_.share(edges.size() - 1, [&](unsigned, size_t part) {
            for (int64_t w = edges[part]; w < edges[part + 1]; ++w) row_end_[w] = join_equal(w);
        });
    }

    // Returns the end of the entries of a row.
    int64_t join_equal(int64_t row) {
        int64_t end = row_start_[row];
        for (int64_t i = end; i < row_start_[row + 1]; ++i) {
            const Entry now = entries_[i];
            Entry* before = end > row_start_[row] ? &entries_[end - 1] : nullptr;
            if (before != nullptr && before->document == now.document && before->topic == now.topic &&
                before->n_tokens < 0xFFFF) {
                ++before->n_tokens;
            } else {
                entries_[end++] = now;
            }
        }
        return end;
    }

    // Parts of about the same work, none with rows of two groups; their number does not depend on threads.
    void cut_rows() {
        const int64_t a_row = model_.stride / 8;  // what a row costs before its first entry, in entries
        const int64_t most = (corpus_.n_tokens + a_row * corpus_.n_rows) / kParts + 1;
        int64_t work = 0;
        edges_.push_back(0);
        for (int32_t w = 0; w < corpus_.n_rows; ++w) {
            const bool parted = w > 0 && corpus_.row_group[w] != corpus_.row_group[w - 1];
            if (work > 0 && (parted || work >= most)) {
                edges_.push_back(w);
                work = 0;
            }
            work += a_row + row_end_[w] - row_start_[w];
        }
        edges_.push_back(corpus_.n_rows);
    }

    // Calls visit(row, thread, totals) for every row that has tokens; what it adds to `totals` becomes the
    // totals of the row's group, part after part.
    template <class Visit>
    void visit_rows(Visit&& visit) {
        const int stride = model_.stride;
        parts_.assign((edges_.size() - 1) * stride, 0);
        team_.share(edges_.size() - 1, [&](unsigned thread, size_t part) {
            for (int64_t w = edges_[part]; w < edges_[part + 1]; ++w) {
                if (row_end_[w] > row_start_[w]) visit(w, thread, parts_.data() + part * stride);
            }
        });
        std::fill(totals_.begin(), totals_.end(), 0);
        for (size_t part = 0; part + 1 < edges_.size(); ++part) {
            if (edges_[part] == edges_[part + 1]) continue;
            double* totals = totals_.data() + static_cast<int64_t>(corpus_.row_group[edges_[part]]) * stride;
            for (int k = 0; k < stride; ++k) totals[k] += parts_[part * stride + k];
        }
    }

    void invert_totals() {
        for (size_t row = 0; row < totals_.size(); row += model_.stride) {
            for (int32_t k = 0; k < model_.n_topics; ++k) {
                inverse_[row + k] = static_cast<float>(1 / (totals_[row + k] + model_.smoothing));
            }
        }
    }

    const Corpus corpus_;
    const Model model_;
    const int threads_;
    std::vector<float> alpha_, inverse_;
    std::vector<double> totals_, parts_;
    std::vector<int64_t> mixture_start_, row_start_, row_end_, edges_;
    std::vector<uint16_t> mixture_topics_;
    std::vector<float> mixture_counts_;
    std::unique_ptr<Entry[]> entries_;
    std::vector<std::vector<double>> memory_;
    Work work_;
    Team team_;
};

}  // namespace

void refine(const Corpus& corpus, const Model& model, const uint16_t* topics, float* expected,
            int64_t n_rounds, int threads) {
    Refinement(corpus, model, topics, threads).run(expected, n_rounds);
}

}  // namespace radfast::gibbs
