#include "gibbs_dense.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu.h"
#include "gibbs_pass.h"
#include "team.h"

namespace radfast::gibbs {

namespace {

constexpr int64_t kChunk = 1 << 5;       // tokens of a chunk, which is at least one document
constexpr int64_t kPart = 1 << 8;        // tokens of a batch that another thread counts for
constexpr int64_t kTwinCells = 1 << 20;  // of a table that is kept twice

struct Works {
    DenseWork dense, sparse;
    PriorWork prior;
};

Works choose_works() {
    switch (current_simd()) {
#if defined(__x86_64__) && defined(__GNUC__)
        case Simd::avx512:
            return {avx512::work_dense, avx512::work_sparse, avx512::weigh_prior};
        case Simd::avx2:
            return {avx2::work_dense, avx2::work_sparse, avx2::weigh_prior};
#endif
        default:
            return {portable::work_dense, portable::work_sparse, portable::weigh_prior};
    }
}

// Counts in a line of the cache.
struct alignas(64) Line {
    int32_t counts[kBlock];
};

// Memory of one thread, in lines of its own; vectors are aligned in it.
struct Owned {
    std::vector<float> floats;
    std::vector<Line> totals;  // what the thread adds to them
    std::vector<uint32_t> topics;

    Owned(int32_t stride, size_t n_totals)
        : floats(static_cast<size_t>(stride) * 3 * kWalkers + 2 * kBlock),
          totals(n_totals / kBlock),
          topics(2 * stride + kBlock) {}

    DenseScratch scratch(int32_t stride, unsigned thread) {
        const size_t each = static_cast<size_t>(stride) * kWalkers;
        const size_t past = reinterpret_cast<uintptr_t>(floats.data()) / sizeof(float) % kBlock;
        float* start = floats.data() + (kBlock - past) % kBlock;
        return {start, start + each, start + 2 * each, topics.data(),
                static_cast<int64_t>(thread) * kWalkers};
    }
};

// Documents of a batch and what each thread is dealt of them.
struct Batch {
    int64_t n_tokens;
    Deal deal;
};

std::vector<Batch> cut_batches(const Corpus& corpus, int64_t first_document, int threads) {
    const int64_t* indptr = corpus.indptr;
    const int64_t n_tokens = corpus.n_tokens - indptr[first_document];
    const std::vector<int64_t> edges =
        cut(indptr, first_document, corpus.n_documents, n_tokens / kBatches + 1);
    std::vector<Batch> batches;
    for (size_t i = 0; i + 1 < edges.size(); ++i) {
        batches.push_back(
            {indptr[edges[i + 1]] - indptr[edges[i]], Deal(indptr, edges[i], edges[i + 1], threads, kChunk)});
    }
    return batches;
}

// Brings the counts of the rows of a part up to date.
void count_moves(const DensePass& pass, uint32_t part, int32_t* word_topic, int32_t* totals) {
    const int32_t* row_group = pass.corpus->row_group;
    const int64_t stride = pass.model->stride;
    for (const MoveBlock& block : *pass.moves) {
        if (block.part != part) continue;
        for (uint32_t j = 0; j < block.size; ++j) {
            const Move& move = block.moves[j];
            int32_t* counts = word_topic + move.row * stride;
            int32_t* total = totals + row_group[move.row] * stride;
            if (!pass.joining) {
                --counts[move.old];
                --total[move.old];
            }
            ++counts[move.now];
            ++total[move.now];
        }
    }
}

class DenseSweeps {
  public:
    DenseSweeps(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
                int32_t* totals, int64_t first_document, bool joining, bool sparse, int threads)
        : corpus_(corpus),
          model_(model),
          first_document_(first_document),
          joining_(joining),
          topics_(topics),
          totals_(totals),
          batches_(cut_batches(corpus, first_document, threads)),
          alpha_(model.stride + kBlock),
          inverse_(static_cast<int64_t>(corpus.n_groups) * model.stride),
          inverse_less_(inverse_.size()),
          prior_(sparse ? corpus.n_rows : 0),
          used_(prior_.size()),
          tables_{word_topic} {
        std::copy(model.alpha, model.alpha + model.n_topics, alpha_.begin());
        const Works works = choose_works();
        work_ = sparse ? works.sparse : works.dense;
        weigh_prior_ = works.prior;
        for (const Batch& batch : batches_) {
            longest_ = std::max(longest_, batch.n_tokens);
            n_threads_ = std::max(n_threads_, batch.deal.n_threads());
        }
        // All that threads need is taken here: nothing may fail once topics have changed.
        for (unsigned i = 0; i < n_threads_; ++i) owned_.emplace_back(model.stride, inverse_.size());
    }

    void run(int64_t first_sweep, int64_t n_sweeps, int32_t* sums, const Proceed& proceed) {
        copy_table(n_sweeps);
        MovePool moves(longest_, static_cast<int64_t>(n_threads_) * kWalkers, count_parts(longest_));
        Team team(n_threads_);
        for (int64_t sweep = first_sweep; sweep < first_sweep + n_sweeps; ++sweep) {
            int64_t begin = corpus_.indptr[first_document_];
            for (Batch& batch : batches_) {
                invert_totals();
                moves.clear(count_parts(batch.n_tokens));
                if (!prior_.empty()) weigh_priors(team, begin, begin + batch.n_tokens);
                sample_batch(team, batch, sweep, moves);
                begin += batch.n_tokens;
            }
            if (sums != nullptr) add_counts(team, sums);
            if (!proceed()) break;
        }
    }

  private:
    // Two threads or more have two tables, if those are small: each table is written by its own threads, so
    // that half of the lines need not come from another core, which may be far away.
    void copy_table(int64_t n_sweeps) {
        const int64_t n_cells = static_cast<int64_t>(corpus_.n_rows) * model_.stride;
        const int64_t n_tokens = corpus_.n_tokens - corpus_.indptr[first_document_];
        if (n_threads_ < 2 || n_cells > kTwinCells || n_tokens * n_sweeps < n_cells / kBlock) return;
        twin_.reset(new Line[n_cells / kBlock]);
        std::copy(tables_[0], tables_[0] + n_cells, twin_[0].counts);
        tables_.push_back(twin_[0].counts);
    }

    // Parts of the rows, each of which one thread brings up to date in each table.
    uint32_t count_parts(int64_t n_tokens) const {
        const int64_t most = n_threads_ / tables_.size();
        return static_cast<uint32_t>(std::clamp<int64_t>(n_tokens / kPart, 1, most));
    }

    int32_t* table_of(unsigned thread) const { return tables_[thread % tables_.size()]; }

    DensePass pass_of(unsigned thread, int64_t sweep, MovePool* moves) const {
        return {&corpus_, &model_, alpha_.data(), table_of(thread), inverse_.data(), inverse_less_.data(),
                topics_,  moves,   sweep,         joining_,         prior_.data()};
    }

    void invert_totals() {
        const float smoothing = static_cast<float>(model_.smoothing);
        for (size_t row = 0; row < inverse_.size(); row += model_.stride) {
            for (int32_t k = 0; k < model_.n_topics; ++k) {
                const float count = static_cast<float>(totals_[row + k]);
                inverse_[row + k] = 1.0f / (count + smoothing);
                inverse_less_[row + k] = 1.0f / (count - 1.0f + smoothing);
            }
        }
    }

    // For the rows of tokens begin..end-1.
    void weigh_priors(Team& team, int64_t begin, int64_t end) {
        std::fill(used_.begin(), used_.end(), 0);
        for (int64_t i = begin; i < end; ++i) used_[corpus_.rows[i]] = 1;
        team.call_each([&](unsigned thread) {
            const DensePass pass = pass_of(thread, 0, nullptr);
            for (int64_t w = thread; w < corpus_.n_rows; w += n_threads_) {
                if (used_[w]) prior_[w] = weigh_prior_(pass, static_cast<int32_t>(w));
            }
        });
    }

    void sample_batch(Team& team, Batch& batch, int64_t sweep, MovePool& moves) {
        batch.deal.begin();
        team.call_each([&](unsigned thread) {
            const Feed feed{&batch.deal, thread};
            work_(pass_of(thread, sweep, &moves), feed, owned_[thread].scratch(model_.stride, thread));
        });
        team.call_each([&](unsigned thread) {
            std::vector<Line>& totals = owned_[thread].totals;
            std::fill(totals.begin(), totals.end(), Line{});
            const uint32_t part = thread / tables_.size();
            if (part >= moves.parts()) return;
            count_moves(pass_of(thread, sweep, &moves), part, table_of(thread), totals[0].counts);
        });
        for (size_t thread = 0; thread < owned_.size(); thread += tables_.size()) {
            const int32_t* added = owned_[thread].totals[0].counts;
            for (size_t k = 0; k < inverse_.size(); ++k) totals_[k] += added[k];
        }
    }

    void add_counts(Team& team, int32_t* sums) const {
        team.call_each([&](unsigned thread) {
            for (int64_t i = corpus_.indptr[first_document_]; i < corpus_.n_tokens; ++i) {
                const int32_t row = corpus_.rows[i];
                if (part_of(row, n_threads_) != thread) continue;
                ++sums[static_cast<int64_t>(row) * model_.stride + topics_[i]];
            }
        });
    }

    const Corpus corpus_;
    const Model model_;
    const int64_t first_document_;
    const bool joining_;
    uint16_t* const topics_;
    int32_t* const totals_;
    std::vector<Batch> batches_;
    std::vector<float> alpha_, inverse_, inverse_less_, prior_;
    std::vector<char> used_;  // rows of the batch, where sparse
    std::vector<int32_t*> tables_;
    std::unique_ptr<Line[]> twin_;
    DenseWork work_ = nullptr;
    PriorWork weigh_prior_ = nullptr;
    unsigned n_threads_ = 1;
    int64_t longest_ = 0;  // tokens of a batch
    std::vector<Owned> owned_;
};

}  // namespace

void sample_dense(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
                  int32_t* totals, int32_t* sums, int64_t first_sweep, int64_t n_sweeps,
                  int64_t first_document, bool joining, bool sparse, int threads, const Proceed& proceed) {
    DenseSweeps(corpus, model, topics, word_topic, totals, first_document, joining, sparse, threads)
        .run(first_sweep, n_sweeps, sums, proceed);
}

}  // namespace radfast::gibbs
