#include "gibbs.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu.h"
#include "gibbs_pass.h"
#include "team.h"

namespace radfast::gibbs {

namespace {

constexpr int64_t kChunk = 1 << 12;  // tokens of a chunk, which is at least one unit

// Memory behind a Scratch.
struct Owned {
    std::vector<int32_t> counts, tally, second_tally;
    std::vector<uint32_t> fresh;
    std::vector<uint64_t> records;
};

// A Prior and the memory behind it.
class OwnedPrior {
  public:
    explicit OwnedPrior(double value, int32_t n_topics)
        : prior_{static_cast<float>(value), n_topics * static_cast<double>(static_cast<float>(value)),
                 nullptr, nullptr, nullptr} {}

    OwnedPrior(const double* values, int32_t n_topics) : OwnedPrior(values[0], n_topics) {
        if (std::all_of(values, values + n_topics, [&](double value) { return value == values[0]; })) return;
        values_.assign(values, values + n_topics);
        keep_.assign(n_topics, 0xFFFFFFFFu);
        instead_.resize(n_topics);
        std::iota(instead_.begin(), instead_.end(), 0);
        prior_ = {0, std::accumulate(values, values + n_topics, 0.0), values_.data(), keep_.data(),
                  instead_.data()};
        std::vector<double> share(n_topics);
        std::vector<int32_t> small, large;
        for (int32_t k = 0; k < n_topics; ++k) {
            share[k] = values[k] / prior_.sum * n_topics;
            (share[k] < 1 ? small : large).push_back(k);
        }
        while (!small.empty() && !large.empty()) {
            const int32_t low = small.back(), high = large.back();
            small.pop_back();
            keep_[low] = static_cast<uint32_t>(share[low] * 4294967295.0);
            instead_[low] = high;
            share[high] -= 1 - share[low];
            if (share[high] < 1) {
                large.pop_back();
                small.push_back(high);
            }
        }
    }

    OwnedPrior(const OwnedPrior&) = delete;

    const Prior* get() const { return &prior_; }

  private:
    std::vector<float> values_;
    std::vector<uint32_t> keep_, instead_;
    Prior prior_;
};

struct Works {
    Work words, documents;
};

Works choose_works() {
    switch (current_simd()) {
#if defined(__x86_64__) && defined(__GNUC__)
        case Simd::avx512:
            return {avx512::work_words, avx512::work_documents};
        case Simd::avx2:
            return {avx2::work_words, avx2::work_documents};
#endif
        default:
            return {portable::work_words, portable::work_documents};
    }
}

// Ranges of units with about kChunk tokens each; how they fall to threads changes no result.
std::vector<int64_t> cut(const int64_t* start, int64_t n_units) {
    std::vector<int64_t> edges{0};
    for (int64_t u = 1; u <= n_units; ++u) {
        if (u == n_units || start[u] - start[edges.back()] >= kChunk) edges.push_back(u);
    }
    return edges;
}

class Sampler {
  public:
    Sampler(const Corpus& corpus, const Model& model, int32_t* totals, int threads)
        : corpus_(corpus),
          model_(model),
          alpha_(model.alpha, model.n_topics),
          eta_(model.eta, model.n_topics),
          totals_(totals),
          row_start_(corpus.n_rows + 1),
          position_(corpus.n_tokens),
          records_(corpus.n_tokens),
          inverse_(size_of_totals()),
          works_(choose_works()),
          team_(static_cast<unsigned>(threads)) {
        for (int64_t i = 0; i < corpus.n_tokens; ++i) ++row_start_[corpus.rows[i] + 1];
        int64_t longest = 0;
        for (int32_t w = 0; w < corpus.n_rows; ++w) {
            longest = std::max(longest, row_start_[w + 1]);
            row_start_[w + 1] += row_start_[w];
        }
        std::vector<int64_t> next(row_start_.begin(), row_start_.end() - 1);
        for (int64_t i = 0; i < corpus.n_tokens; ++i)
            position_[i] = static_cast<uint32_t>(next[corpus.rows[i]]++);
        int64_t longest_document = 0;
        for (int64_t d = 0; d < corpus.n_documents; ++d) {
            longest_document = std::max(longest_document, corpus.indptr[d + 1] - corpus.indptr[d]);
        }
        word_edges_ = cut(row_start_.data(), corpus.n_rows);
        document_edges_ = cut(corpus.indptr, corpus.n_documents);
        owned_.resize(threads);
        for (Owned& owned : owned_) {
            owned.counts.assign(model.stride, 0);
            owned.tally.assign(size_of_totals(), 0);
            owned.second_tally.assign(size_of_totals(), 0);
            owned.fresh.resize(std::max(longest, longest_document) + kPadding);
            owned.records.resize(longest_document + kPadding);
        }
    }

    void run(uint16_t* topics, int32_t* sums, int64_t first_sweep, int64_t n_sweeps) {
        for (int64_t i = 0; i < corpus_.n_tokens; ++i) records_[position_[i]] = topics[i];
        pass(works_.documents, document_edges_, first_sweep - 1, true);
        for (int64_t sweep = first_sweep; sweep < first_sweep + n_sweeps; ++sweep) {
            pass(works_.words, word_edges_, sweep, false);
            pass(works_.documents, document_edges_, sweep, false);
            if (sums != nullptr) add_counts(sums);
        }
        for (int64_t i = 0; i < corpus_.n_tokens; ++i)
            topics[i] = static_cast<uint16_t>(records_[position_[i]]);
    }

  private:
    int64_t size_of_totals() const { return static_cast<int64_t>(corpus_.n_groups) * model_.stride; }

    void pass(Work work, const std::vector<int64_t>& edges, int64_t sweep, bool only_propose) {
        for (int64_t k = 0; k < size_of_totals(); ++k) {
            inverse_[k] = 1.0f / (static_cast<float>(totals_[k]) + static_cast<float>(model_.smoothing));
        }
        const Pass now{&corpus_,         &model_,         alpha_.get(), eta_.get(),      row_start_.data(),
                       position_.data(), inverse_.data(), totals_,      records_.data(), sweep,
                       only_propose};
        team_.share(edges.size() - 1, [&](unsigned thread, size_t chunk) {
            Owned& owned = owned_[thread];
            Scratch scratch{owned.counts.data(), owned.tally.data(), owned.second_tally.data(),
                            owned.fresh.data(), owned.records.data()};
            work(now, edges[chunk], edges[chunk + 1], scratch);
        });
        if (only_propose) return;
        std::fill(totals_, totals_ + size_of_totals(), 0);
        for (Owned& owned : owned_) {
            for (std::vector<int32_t>* tally : {&owned.tally, &owned.second_tally}) {
                for (int64_t k = 0; k < size_of_totals(); ++k) totals_[k] += (*tally)[k];
                std::fill(tally->begin(), tally->end(), 0);
            }
        }
    }

    // Records are word-major, so that the row that is added to stays in the nearest cache.
    void add_counts(int32_t* sums) {
        team_.share(word_edges_.size() - 1, [&](unsigned, size_t chunk) {
            for (int64_t w = word_edges_[chunk]; w < word_edges_[chunk + 1]; ++w) {
                int32_t* row = sums + w * model_.stride;
                for (int64_t i = row_start_[w]; i < row_start_[w + 1]; ++i) ++row[records_[i] & 0xFFFFu];
            }
        });
    }

    const Corpus corpus_;
    const Model model_;
    const OwnedPrior alpha_, eta_;
    int32_t* totals_;
    std::vector<int64_t> row_start_, word_edges_, document_edges_;
    std::vector<uint32_t> position_;
    std::vector<uint64_t> records_;
    std::vector<float> inverse_;
    std::vector<Owned> owned_;
    Works works_;
    Team team_;
};

}  // namespace

void sample_mh(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* totals, int32_t* sums,
               int64_t first_sweep, int64_t n_sweeps, int threads) {
    Sampler(corpus, model, totals, threads).run(topics, sums, first_sweep, n_sweeps);
}

}  // namespace radfast::gibbs
