#include "gibbs.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "cpu.h"
#include "gibbs_deal.h"
#include "gibbs_order.h"
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

// Memory that the threads are the first to touch.
template <class T>
std::unique_ptr<T[]> take_memory(int64_t n) {
    return std::unique_ptr<T[]>(new T[n]);
}

int64_t find_longest(const int64_t* start, int64_t n_units) {
    int64_t longest = 0;
    for (int64_t u = 0; u < n_units; ++u) longest = std::max(longest, start[u + 1] - start[u]);
    return longest;
}

class Sampler {
  public:
    Sampler(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* totals, int threads)
        : corpus_(corpus),
          model_(model),
          alpha_(model.alpha, model.n_topics),
          eta_(model.eta, model.n_topics),
          topics_(topics),
          totals_(totals),
          team_(static_cast<unsigned>(threads)),
          position_(take_memory<uint32_t>(corpus.n_tokens)),
          records_(take_memory<uint64_t>(corpus.n_tokens)),
          row_start_(sort_by_row(corpus, model, team_, threads,
                                 [this](int64_t token, int64_t, int64_t place) {
                                     position_[token] = static_cast<uint32_t>(place);
                                     records_[place] = topics_[token];
                                 })),
          words_(row_start_.data(), 0, corpus.n_rows, threads, kChunk),
          documents_(corpus.indptr, 0, corpus.n_documents, threads, kChunk),
          inverse_(size_of_totals()),
          owned_(threads),
          works_(choose_works()) {
        const int64_t longest_document = find_longest(corpus.indptr, corpus.n_documents);
        const int64_t longest = std::max(longest_document, find_longest(row_start_.data(), corpus.n_rows));
        for (Owned& owned : owned_) {
            owned.counts.assign(model.stride, 0);
            owned.tally.assign(size_of_totals(), 0);
            owned.second_tally.assign(size_of_totals(), 0);
            owned.fresh.resize(longest + kPadding);
            owned.records.resize(longest_document + kPadding);
        }
    }

    void run(int32_t* word_topic, int32_t* sums, int64_t first_sweep, int64_t n_sweeps,
             const Proceed& proceed) {
        pass(works_.documents, documents_, first_sweep - 1, true);
        for (int64_t sweep = first_sweep; sweep < first_sweep + n_sweeps; ++sweep) {
            pass(works_.words, words_, sweep, false);
            pass(works_.documents, documents_, sweep, false);
            if (sums != nullptr) add_counts(sums, false);
            if (!proceed()) break;
        }
        add_counts(word_topic, true);
        visit(documents_, [&](unsigned, const Chunk& chunk) {
            for (int64_t i = corpus_.indptr[chunk.first]; i < corpus_.indptr[chunk.last]; ++i) {
                topics_[i] = static_cast<uint16_t>(records_[position_[i]]);
            }
        });
    }

  private:
    int64_t size_of_totals() const { return static_cast<int64_t>(corpus_.n_groups) * model_.stride; }

    // Calls work(thread, chunk) for every chunk.
    template <class What>
    void visit(Deal& deal, const What& work) {
        deal.begin();
        team_.call_each([&](unsigned thread) {
            for (Chunk chunk; deal.take(thread, chunk);) work(thread, chunk);
        });
    }

    void pass(Work work, Deal& deal, int64_t sweep, bool only_propose) {
        for (int64_t k = 0; k < size_of_totals(); ++k) {
            inverse_[k] = 1.0f / (static_cast<float>(totals_[k]) + static_cast<float>(model_.smoothing));
        }
        const Pass now{&corpus_,          &model_,         alpha_.get(),    eta_.get(),
                       row_start_.data(), position_.get(), inverse_.data(), totals_,
                       records_.get(),    sweep,           only_propose};
        visit(deal, [&](unsigned thread, const Chunk& chunk) {
            Owned& owned = owned_[thread];
            Scratch scratch{owned.counts.data(), owned.tally.data(), owned.second_tally.data(),
                            owned.fresh.data(), owned.records.data()};
            work(now, chunk.first, chunk.last, scratch);
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

    // Adds the counts of words in topics to `table`, or writes them there. Records are word-major, so that
    // the row stays in the nearest cache.
    void add_counts(int32_t* table, bool anew) {
        visit(words_, [&](unsigned, const Chunk& chunk) {
            for (int64_t w = chunk.first; w < chunk.last; ++w) {
                int32_t* row = table + w * model_.stride;
                if (anew) std::fill(row, row + model_.stride, 0);
                for (int64_t i = row_start_[w]; i < row_start_[w + 1]; ++i) ++row[records_[i] & 0xFFFFu];
            }
        });
    }

    const Corpus corpus_;
    const Model model_;
    const OwnedPrior alpha_, eta_;
    uint16_t* const topics_;
    int32_t* const totals_;
    Team team_;
    const std::unique_ptr<uint32_t[]> position_;
    const std::unique_ptr<uint64_t[]> records_;
    const std::vector<int64_t> row_start_;
    Deal words_, documents_;
    std::vector<float> inverse_;
    std::vector<Owned> owned_;
    const Works works_;
};

}  // namespace

void sample_mh(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
               int32_t* totals, int32_t* sums, int64_t first_sweep, int64_t n_sweeps, int threads,
               const Proceed& proceed) {
    Sampler(corpus, model, topics, totals, threads).run(word_topic, sums, first_sweep, n_sweeps, proceed);
}

}  // namespace radfast::gibbs
