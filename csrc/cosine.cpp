// Dense form: all threads share one packed block of queries and one of keys. A query panel (28 KB at 512
// features) stays in the first cache while key panels stream from the second; per tile of 14 x 32 scores the
// arithmetic is 14 x 32 x depth multiply-adds against 14 comparisons, so the search costs what the matrix
// product costs.
#include "cosine.h"

#include "cosine_parts.h"

namespace radfast::cosine {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

// More threads than this many multiply-adds each would only wait for one another.
constexpr double kWorkPerThread = 2e6;

class Dense {
  public:
    Dense(Rows queries, Rows keys, std::int64_t depth, int k, int threads)
        : queries_(queries),
          keys_(keys),
          depth_(depth),
          k_(k),
          engine_(gemm::engine_for(current_simd())),
          above_(above_for(engine_.simd)),
          query_panel_(gemm::panel_floats(depth, engine_.rows)),
          key_panel_(gemm::panel_floats(depth, engine_.columns)),
          best_(k, slack_for(k)) {
        const double work = static_cast<double>(queries.count) * keys.count * depth;
        threads_ = static_cast<int>(std::clamp(work / kWorkPerThread, 1.0, static_cast<double>(threads)));
        const std::int64_t row_bytes = depth * 4;
        std::int64_t block =
            std::min(kBlockBytes / row_bytes, kBlockBytes / BestK::bytes_per_query(k, slack_for(k)));
        block = std::max<std::int64_t>(block, 32 * engine_.rows);
        query_block_ = round_up(std::min(block, std::max<std::int64_t>(queries.count, 1)), engine_.rows);
        near_ = std::max<std::int64_t>(kNearBytes / row_bytes / engine_.columns, 1) * engine_.columns;
        key_block_ =
            round_up(std::min(std::max(kBlockBytes / row_bytes, near_), keys.count), engine_.columns);
        const std::int64_t panels = query_block_ / engine_.rows;
        group_ = std::clamp<std::int64_t>(panels / (4 * threads_), 1, 8);
        packed_queries_.reserve(panels * query_panel_);
        packed_keys_.reserve(key_block_ / engine_.columns * key_panel_);
        query_scales_.resize(queries.count);
        key_scales_.resize(keys.count);
        best_.reset(query_block_);
    }

    BadRows run(float* scores, std::int32_t* ids) {
        Sync sync(threads_, Reset{&next_});
        run_team(threads_, [&](int) {
            try {
                work(sync, scores, ids);
            } catch (...) {
                sync.arrive_and_drop();
                throw;
            }
        });
        return {bad_query_, bad_key_};
    }

  private:
    struct Reset {
        std::atomic<std::int64_t>* counter;
        void operator()() noexcept { *counter = 0; }
    };
    using Sync = std::barrier<Reset>;

    // Hands out [0, count) in steps, each to the thread that comes first; all wait at the end.
    template <typename Step>
    void share(Sync& sync, std::int64_t count, std::int64_t step, Step&& work) {
        for (std::int64_t at; (at = next_.fetch_add(step)) < count;) work(at, std::min(at + step, count));
        sync.arrive_and_wait();
    }

    void pack(Packer& packer, const Rows& rows, std::vector<float>& scales, std::atomic<std::int64_t>& bad,
              bool measure, std::int64_t first, std::int64_t count, int width, float* dst) {
        if (measure) {
            for (std::int64_t i = first; i < first + count; ++i) {
                if (!scale_of(engine_, rows.data + i * rows.stride, depth_, &scales[i])) lower(bad, i);
            }
        }
        packer.pack(rows, scales.data() + first, nullptr, first, static_cast<int>(count), width, dst);
    }

    void work(Sync& sync, float* scores, std::int32_t* ids) {
        Packer packer(engine_, depth_);
        const bool keys_stay = key_block_ >= keys_.count;
        for (std::int64_t q0 = 0; q0 < queries_.count; q0 += query_block_) {
            const std::int64_t nq = std::min(query_block_, queries_.count - q0);
            share(sync, nq, engine_.rows, [&](std::int64_t from, std::int64_t to) {
                pack(packer, queries_, query_scales_, bad_query_, true, q0 + from, to - from, engine_.rows,
                     packed_queries_.get() + from / engine_.rows * query_panel_);
            });
            for (std::int64_t n0 = 0; n0 < keys_.count; n0 += key_block_) {
                const std::int64_t nk = std::min(key_block_, keys_.count - n0);
                if (q0 == 0 || !keys_stay) {
                    share(sync, nk, engine_.columns, [&](std::int64_t from, std::int64_t to) {
                        pack(packer, keys_, key_scales_, bad_key_, q0 == 0, n0 + from, to - from,
                             engine_.columns, packed_keys_.get() + from / engine_.columns * key_panel_);
                    });
                }
                share(sync, nq, group_ * engine_.rows,
                      [&](std::int64_t from, std::int64_t to) { multiply(from, to, n0, nk); });
            }
            share(sync, nq, engine_.rows, [&](std::int64_t from, std::int64_t to) {
                for (std::int64_t q = from; q < to; ++q)
                    best_.drain(q, scores + (q0 + q) * k_, ids + (q0 + q) * k_);
            });
            share(sync, 1, 1, [&](std::int64_t, std::int64_t) { best_.reset(query_block_); });
        }
    }

    void multiply(std::int64_t from, std::int64_t to, std::int64_t n0, std::int64_t nk) {
        for (std::int64_t near = 0; near < nk; near += near_) {
            const std::int64_t count = std::min(near_, nk - near);
            for (std::int64_t q = from; q < to; q += engine_.rows) {
                const int rows = static_cast<int>(std::min<std::int64_t>(engine_.rows, to - q));
                scan_block(engine_, above_, depth_, packed_queries_.get() + q / engine_.rows * query_panel_,
                           q, rows, packed_keys_.get() + near / engine_.columns * key_panel_, count, nullptr,
                           n0 + near, best_);
            }
        }
    }

    Rows queries_, keys_;
    std::int64_t depth_;
    int k_, threads_;
    const gemm::Engine& engine_;
    Above above_;
    std::size_t query_panel_, key_panel_;
    std::int64_t query_block_, key_block_, near_, group_;
    Buffer packed_queries_, packed_keys_;
    std::vector<float> query_scales_, key_scales_;
    BestK best_;
    std::atomic<std::int64_t> next_{0}, bad_query_{BadRows::kNone}, bad_key_{BadRows::kNone};
};

}  // namespace

BadRows search_dense(Rows queries, Rows keys, std::int64_t depth, int k, int threads, float* scores,
                     std::int32_t* ids) {
    if (queries.count == 0) return {};
    return Dense(queries, keys, depth, k, threads).run(scores, ids);
}

}  // namespace radfast::cosine
