#include "gibbs_fold.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu.h"
#include "tokenize_parallel.h"

#define RADFAST_INLINE inline __attribute__((always_inline))

namespace radfast::gibbs::fold {

namespace {

constexpr int kBlock = 16;           // topics that are weighed together; tables are padded to it
constexpr int kManyTopics = 256;     // from here on rounds over few topics pay
constexpr float kLeast = 0.01f;      // c_k of a topic that moves
constexpr int kFew = 8;              // at most this part of the topics moves
constexpr float kLoose = 4.0f;       // rounds over few topics end at this many times the tolerance
constexpr int64_t kChunk = 1 << 11;  // tokens that a thread takes at a time

// The distinct words of a document.
struct Bag {
    int64_t n_words;
    int stride;               // K padded
    const float* const* phi;  // (n_words,) rows of (stride,)
    const float* tokens;      // (n_words,)
    const float* inverse;     // (n_words,) 1 / sum_k phi_wk
    const float* alpha;       // (stride,)
    float n_tokens;
};

struct Scratch {
    float *counts, *weights, *few_alpha, *few_counts;  // (stride,)
    int32_t* moving;                                   // (stride,)
    float *shares, *few_phi, *few_shares;              // (n_words, stride); few: a part of it, 1 / kFew
    float* totals;                                     // (n_words,)
};

}  // namespace

}  // namespace radfast::gibbs::fold

#define RADFAST_ISA portable
#define RADFAST_LANES 4
#include "gibbs_fold_unit.h"
#undef RADFAST_ISA
#undef RADFAST_LANES

#if defined(__x86_64__) && defined(__GNUC__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define RADFAST_ISA avx2
#define RADFAST_LANES 8
#include "gibbs_fold_unit.h"
#undef RADFAST_ISA
#undef RADFAST_LANES
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
#define RADFAST_LANES 16
#include "gibbs_fold_unit.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

namespace radfast::gibbs {

namespace {

using namespace fold;

using Work = void (*)(const Bag&, const Scratch&, int64_t, float);

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

// Floats that begin on a line of the cache.
class Lines {
  public:
    float* reserve(size_t size) {
        if (floats_.size() < size + kBlock) floats_.resize(size + kBlock);
        const size_t past = reinterpret_cast<uintptr_t>(floats_.data()) / sizeof(float) % kBlock;
        return floats_.data() + (kBlock - past) % kBlock;
    }

  private:
    std::vector<float> floats_;
};

// phi of the rows that occur, word after word.
struct Table {
    std::vector<int32_t> slot;  // (R,) place of a row, -1 if it does not occur
    std::vector<int32_t> row;   // its inverse
    Lines lines;
    float* phi;  // (slots, stride)
    std::vector<float> inverse;

    Table(const FoldIn& job, int stride, int threads) : slot(job.n_rows, -1) {
        for (int64_t i = 0; i < job.indptr[job.n_documents]; ++i) slot[job.rows[i]] = 0;
        for (int32_t w = 0; w < job.n_rows; ++w) {
            if (slot[w] < 0) continue;
            slot[w] = static_cast<int32_t>(row.size());
            row.push_back(w);
        }
        phi = lines.reserve(row.size() * stride);
        inverse.resize(row.size());
        // Rows by 16: neighbours in a line of the cache if phi comes topic after topic.
        share((row.size() + kBlock - 1) / kBlock, static_cast<unsigned>(threads),
              [&](unsigned, size_t block) {
                  const size_t first = block * kBlock, last = std::min(first + kBlock, row.size());
                  for (int k = 0; k < job.n_topics; ++k) {
                      for (size_t i = first; i < last; ++i) {
                          phi[i * stride + k] = job.phi[row[i] * job.row_step + k * job.topic_step];
                      }
                  }
                  for (size_t i = first; i < last; ++i) {
                      double sum = 0;
                      for (int k = 0; k < job.n_topics; ++k) sum += phi[i * stride + k];
                      inverse[i] = static_cast<float>(1 / sum);
                  }
              });
    }
};

// Memory of one thread.
struct Owned {
    std::vector<int32_t> sorted, moving;
    std::vector<const float*> phi;
    std::vector<float> tokens, inverse, totals;
    Lines lines;
};

void fold_document(const FoldIn& job, const Table& table, const float* alpha, int stride, double mass,
                   int64_t d, Work work, Owned& own) {
    own.sorted.assign(job.rows + job.indptr[d], job.rows + job.indptr[d + 1]);
    std::sort(own.sorted.begin(), own.sorted.end());
    own.phi.clear();
    own.tokens.clear();
    own.inverse.clear();
    for (size_t i = 0; i < own.sorted.size(); ++i) {
        if (i > 0 && own.sorted[i] == own.sorted[i - 1]) {
            ++own.tokens.back();
            continue;
        }
        const int32_t slot = table.slot[own.sorted[i]];
        own.phi.push_back(table.phi + static_cast<int64_t>(slot) * stride);
        own.tokens.push_back(1.0f);
        own.inverse.push_back(table.inverse[slot]);
    }
    const size_t n = own.phi.size(), size = n * stride;
    own.totals.resize(std::max(own.totals.size(), n));
    own.moving.resize(stride + 1);
    const size_t row = stride, few = (row / kFew + kBlock - 1) / kBlock * kBlock * n;
    float* at = own.lines.reserve(4 * row + size + 2 * few);
    const auto take = [&](size_t length) {
        float* start = at;
        at += length;
        return start;
    };
    Scratch scratch{};
    scratch.counts = take(row);
    scratch.weights = take(row);
    scratch.few_alpha = take(row);
    scratch.few_counts = take(row);
    scratch.moving = own.moving.data();
    scratch.shares = take(size);
    scratch.few_phi = take(few);
    scratch.few_shares = take(few);
    scratch.totals = own.totals.data();
    const float n_tokens = static_cast<float>(own.sorted.size());
    work({static_cast<int64_t>(n), stride, own.phi.data(), own.tokens.data(), own.inverse.data(), alpha,
          n_tokens},
         scratch, job.n_iterations, static_cast<float>(job.tolerance));
    const double sum = static_cast<double>(own.sorted.size()) + mass;
    float* theta = job.theta + d * job.n_topics;
    for (int k = 0; k < job.n_topics; ++k) {
        theta[k] = static_cast<float>((scratch.counts[k] + job.alpha[k]) / sum);
    }
}

}  // namespace

int64_t fold_in(const FoldIn& job, int threads) {
    const int stride = (job.n_topics + kBlock - 1) / kBlock * kBlock;
    const Work work = choose_work();
    const Table table(job, stride, threads);
    for (size_t i = 0; i < table.inverse.size(); ++i) {
        if (!(table.inverse[i] > 0 && std::isfinite(table.inverse[i]))) return table.row[i];
    }
    Lines lines;
    float* alpha = lines.reserve(stride);
    double mass = 0;
    for (int k = 0; k < job.n_topics; ++k) {
        alpha[k] = static_cast<float>(job.alpha[k]);
        mass += job.alpha[k];
    }
    std::vector<int64_t> edges{0};
    for (int64_t d = 1; d <= job.n_documents; ++d) {
        if (d == job.n_documents || job.indptr[d] - job.indptr[edges.back()] >= kChunk) edges.push_back(d);
    }
    std::vector<Owned> owned(threads);
    share(edges.size() - 1, static_cast<unsigned>(threads), [&](unsigned thread, size_t chunk) {
        for (int64_t d = edges[chunk]; d < edges[chunk + 1]; ++d) {
            fold_document(job, table, alpha, stride, mass, d, work, owned[thread]);
        }
    });
    return -1;
}

}  // namespace radfast::gibbs
