// Dense form. A block of queries is packed once, as much of them as the memory allowed beside the data takes;
// then each thread takes blocks of keys of its own, packs them into its second cache and runs every panel of
// queries past them, so threads meet only at the start and the end of a block of queries. Scores are compared
// with the k-th best of their query while they still stand in registers; few tiles are ever stored. What the
// next tiles need (the next panel of queries, the raw rows of the next block of keys) is asked for meanwhile.
#include "cosine.h"

#include <barrier>

#include "cosine_parts.h"

namespace radfast::cosine {
namespace {

// Packed queries, and the best of their searches: together less than the 50 MB allowed beside the data.
constexpr std::int64_t kQueryBytes = 12 << 20;
constexpr std::int64_t kBestBytes = 12 << 20;
// More threads than this many multiply-adds each would only wait for one another.
constexpr double kWorkPerThread = 2e6;
constexpr std::int64_t kSeedKeys = 512;  // most keys whose scores for a panel of queries are all looked at
constexpr std::int64_t kParts = 16;      // of the queries, for blocks of keys that are cut

std::int64_t cut(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

class Dense {
  public:
    Dense(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k, int threads)
        : queries_(queries),
          keys_(keys),
          given_scales_(key_scales),
          depth_(depth),
          k_(k),
          engine_(gemm::engine_for(current_simd())),
          query_panel_(gemm::panel_floats(depth, engine_.rows)),
          key_panel_(gemm::panel_floats(depth, engine_.columns)),
          floor_(floor_for(engine_.simd)) {
        const double work = static_cast<double>(queries.count) * keys.count * depth;
        threads_ = static_cast<int>(std::clamp(work / kWorkPerThread, 1.0, static_cast<double>(threads)));
        const std::int64_t query_bytes = static_cast<std::int64_t>(query_panel_) * 4 / engine_.rows;
        const std::int64_t most = std::clamp<std::int64_t>(
            std::min(kQueryBytes / query_bytes, kBestBytes / (threads_ * BestK::bytes_per_query(k))),
            32 * engine_.rows, std::max<std::int64_t>(queries.count, 1));
        // Blocks of equal size, so that the last is not a small one.
        const std::int64_t blocks = cut(queries.count, most);
        query_block_ = cut(cut(queries.count, blocks), engine_.rows) * engine_.rows;
        if (blocks > 1 && !given_scales_) key_scales_.resize(keys.count);
        const std::int64_t near = near_bytes() / static_cast<std::int64_t>(key_panel_ * 4);
        near_ =
            std::clamp<std::int64_t>(near, 1, std::max<std::int64_t>(cut(keys.count, engine_.columns), 1)) *
            engine_.columns;
        packed_queries_.reserve(query_block_ / engine_.rows * query_panel_);
        for (int i = 0; i < threads_; ++i) bests_.emplace_back(k, true);
    }

    BadRows run(float* scores, std::int32_t* ids) {
        Sync sync(threads_, Reset{&next_});
        run_team(threads_, [&](int thread) {
            try {
                work(thread, sync, scores, ids);
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

    void work(int thread, Sync& sync, float* scores, std::int32_t* ids) {
        Packer packer(engine_, depth_);
        Buffer packed_keys, table;
        packed_keys.reserve(near_ / engine_.columns * key_panel_);
        table.reserve(kSeedKeys * engine_.rows);
        std::vector<BestK*> parts;
        for (BestK& best : bests_) parts.push_back(&best);
        std::vector<std::uint64_t> scratch;
        for (std::int64_t q0 = 0; q0 < queries_.count; q0 += query_block_) {
            const std::int64_t nq = std::min(query_block_, queries_.count - q0);
            bests_[thread].reset(nq);
            share(sync, nq, 4 * engine_.rows, [&](std::int64_t from, std::int64_t to) {
                lower(bad_query_, packer.pack(queries_, nullptr, nullptr, q0 + from, to - from, engine_.rows,
                                              packed_queries_.get() + from / engine_.rows * query_panel_));
            });
            take_keys(thread, packer, packed_keys, table, q0, nq);
            sync.arrive_and_wait();
            share(sync, nq, 32, [&](std::int64_t from, std::int64_t to) {
                for (std::int64_t q = from; q < to; ++q)
                    BestK::drain(parts, q, scratch, scores + (q0 + q) * k_, ids + (q0 + q) * k_);
            });
        }
    }

    // Tasks are blocks of keys. The last ones, or all where there are few, are cut by queries as well, so
    // that no thread waits long for another.
    void take_keys(int thread, Packer& packer, Buffer& packed, Buffer& table, std::int64_t q0,
                   std::int64_t nq) {
        const std::int64_t blocks = cut(keys_.count, near_), panels = cut(nq, engine_.rows);
        const std::int64_t last = threads_ == 1 ? 0 : std::min<std::int64_t>(blocks, 4 * threads_);
        const std::int64_t whole = blocks - last;
        const std::int64_t part = cut(panels, std::min<std::int64_t>(kParts, panels)) * engine_.rows;
        const std::int64_t parts = cut(nq, part), tasks = whole + last * parts;
        const auto block_of = [&](std::int64_t task) {
            return (task < whole ? task : whole + (task - whole) / parts) * near_;
        };
        // The next task is taken before this one is done, so that its keys can be asked for.
        for (std::int64_t at = next_.fetch_add(1), after; at < tasks; at = after) {
            after = next_.fetch_add(1);
            const std::int64_t n0 = block_of(at), from = at < whole ? 0 : (at - whole) % parts * part;
            const std::int64_t nk = std::min(near_, keys_.count - n0);
            const std::int64_t to = at < whole ? nq : std::min(from + part, nq);
            float* known = at < whole && !key_scales_.empty() ? key_scales_.data() : nullptr;
            const float* scales = given_scales_ ? given_scales_ : q0 == 0 ? nullptr : known;
            lower(bad_key_, packer.pack(keys_, scales, nullptr, n0, nk, engine_.columns, packed.get(),
                                        q0 == 0 ? known : nullptr));
            scan(bests_[thread], packed.get(), table.get(), n0, nk, from, to, block_of(after));
        }
    }

    void scan(BestK& best, const float* packed, float* table, std::int64_t n0, std::int64_t nk,
              std::int64_t from, std::int64_t to, std::int64_t n1) const {
        alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
        std::uint32_t masks[gemm::kMaxRows];
        // A filter asks for a few rows of keys, or for the next panel of queries. Rows asked for too early
        // would have left the cache again.
        const std::int64_t tiles = std::max<std::int64_t>(cut(nk, engine_.columns) - 1, 1);
        const std::int64_t late = to - (cut(near_, engine_.asked * tiles) + 1) * engine_.rows;
        std::int64_t raw = n1;
        const std::int64_t raw_end = std::min(n1 + near_, keys_.count - engine_.asked);
        for (std::int64_t q = from; q < to; q += engine_.rows) {
            const int rows = static_cast<int>(std::min<std::int64_t>(engine_.rows, to - q));
            const float* panel = packed_queries_.get() + q / engine_.rows * query_panel_;
            best.prefetch(q + engine_.rows, engine_.rows);
            const std::int64_t seeded = std::isinf(*best.thresholds(q)) && k_ <= kSeedK
                                            ? seed(best, panel, packed, table, n0, nk, q, rows)
                                            : 0;
            const float* keys = packed + seeded / engine_.columns * key_panel_;
            for (std::int64_t n = seeded; n < nk; n += engine_.columns, keys += key_panel_) {
                const float* ahead = panel + query_panel_;
                if (n + engine_.columns < nk || q + engine_.rows >= to) {
                    ahead = panel;
                    if (q >= late && raw < raw_end) {
                        ahead = keys_.data + raw * keys_.stride;
                        raw += engine_.asked;
                    }
                }
                if (!engine_.filters[rows](panel, keys, depth_, best.thresholds(q), ahead, tile, masks))
                    continue;
                const int valid = static_cast<int>(std::min<std::int64_t>(nk - n, engine_.columns));
                offer_tile(engine_, tile, masks, rows, valid, nullptr, n0 + n, q, best);
            }
        }
    }

    // The first keys of a panel of queries, for which nothing is known yet: all scores, then a bound that k
    // of them exceed, and offers of these only. Returns the keys done, a multiple of a tile.
    std::int64_t seed(BestK& best, const float* panel, const float* packed, float* table, std::int64_t n0,
                      std::int64_t nk, std::int64_t q, int rows) const {
        const std::int64_t count = std::min(nk, kSeedKeys) / engine_.columns * engine_.columns;
        for (std::int64_t n = 0; n < count; n += engine_.columns) {
            engine_.kernels[rows](panel, packed + n / engine_.columns * key_panel_, depth_, table + n, count,
                                  false);
        }
        std::uint32_t masks[kSeedKeys / 32];
        for (int i = 0; i < rows; ++i) {
            const float* row = table + i * count;
            engine_.above(row, count, floor_(row, count, k_), masks);
            for (std::int64_t n = 0; n < count; n += 32) {
                for (std::uint32_t mask = masks[n / 32]; mask; mask &= mask - 1) {
                    const std::int64_t j = n + std::countr_zero(mask);
                    best.offer(q + i, row[j], static_cast<std::int32_t>(n0 + j));
                }
            }
        }
        return count;
    }

    Rows queries_, keys_;
    const float* given_scales_;
    std::int64_t depth_;
    int k_, threads_;
    const gemm::Engine& engine_;
    std::size_t query_panel_, key_panel_;
    Floor floor_;
    std::int64_t query_block_, near_;
    Buffer packed_queries_;
    std::vector<float> key_scales_;
    std::vector<BestK> bests_;
    std::atomic<std::int64_t> next_{0}, bad_query_{BadRows::kNone}, bad_key_{BadRows::kNone};
};

}  // namespace

BadRows search_dense(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k, int threads,
                     float* scores, std::int32_t* ids) {
    if (queries.count == 0) return {};
    return Dense(queries, keys, key_scales, depth, k, threads).run(scores, ids);
}

}  // namespace radfast::cosine
