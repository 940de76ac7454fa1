// Candidate form: queries are sorted by group, so the keys of a group are gathered and packed once for a
// whole block of its queries. What is left per query is a matrix product as narrow as its list. Lists of few
// queries go by bytes (cosine_lists.h).
#include <numeric>

#include "cosine.h"
#include "cosine_lists.h"
#include "cosine_parts.h"
#include "cosine_rank.h"

namespace radfast::cosine {
namespace {

// Queries of one task: divides by every tile height, keeps the packed block and its k best in the second
// cache.
constexpr std::int64_t kTaskQueries = 252;
// Queries from which a list is sorted and its keys are packed: for fewer, bytes are quicker.
constexpr std::int64_t kSharing = 8;
// Keys are also made into bytes where lists of few queries read each at least so often, up to this size.
constexpr std::int64_t kByteReads = 4, kByteKeys = 48 << 20;
constexpr std::int64_t kSieved = 4;  // keys per answer from which bytes are looked at first
constexpr std::int64_t kQueriesAhead = 3;

struct Task {
    std::int32_t group;
    std::int64_t first, last;  // range of `order`
};

// Query indices sorted by group, those without a group left out, cut into tasks.
std::vector<Task> plan(const Candidates& candidates, std::int64_t queries, std::vector<std::int32_t>& order) {
    std::vector<std::int64_t> start(candidates.groups + 1, 0);
    for (std::int64_t q = 0; q < queries; ++q) start[candidates.group[q] + 1] += candidates.group[q] >= 0;
    std::partial_sum(start.begin(), start.end(), start.begin());
    order.resize(start.back());
    std::vector<std::int64_t> at(start.begin(), start.end() - 1);
    for (std::int64_t q = 0; q < queries; ++q) {
        if (candidates.group[q] >= 0) order[at[candidates.group[q]]++] = static_cast<std::int32_t>(q);
    }
    std::vector<Task> tasks;
    for (std::int64_t g = 0; g < candidates.groups; ++g) {
        for (std::int64_t from = start[g]; from < start[g + 1]; from += kTaskQueries) {
            tasks.push_back(
                {static_cast<std::int32_t>(g), from, std::min(from + kTaskQueries, start[g + 1])});
        }
    }
    return tasks;
}

// Rows of the task to come, asked into the second cache a few lines at a time while this one multiplies: both
// queries and keys stand scattered in memory.
class Ahead {
  public:
    void aim(const Rows& rows, const std::int32_t* ids, std::int64_t count, std::int64_t depth) {
        rows_ = rows, ids_ = ids, count_ = count, depth_ = depth;
        at_ = 0;
    }
    __attribute__((always_inline)) void ask() {
        if (at_ == count_) return;
        const float* row = rows_.data + ids_[at_++] * rows_.stride;
        for (std::int64_t d = 0; d < depth_; d += 16) __builtin_prefetch(row + d, 0, 2);
    }

  private:
    Rows rows_{};
    const std::int32_t* ids_ = nullptr;
    std::int64_t count_ = 0, depth_ = 0, at_ = 0;
};

// One thread's buffers.
class Worker {
  public:
    Worker(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k)
        : queries_(queries),
          keys_(keys),
          key_scales_(key_scales),
          depth_(depth),
          k_(k),
          engine_(gemm::engine_for(current_simd())),
          floor_(floor_for(engine_.simd)),
          collect_(collect_for(engine_.simd)),
          order_(order_for(engine_.simd)),
          highest_(highest_for(engine_.simd)),
          query_panel_(gemm::panel_floats(depth, engine_.rows)),
          key_panel_(gemm::panel_floats(depth, engine_.columns)),
          packer_(engine_, depth),
          rising_(k, true),
          loose_(std::min(k, BestK::kFew), false),
          near_(std::max<std::int64_t>(2 * near_bytes() / static_cast<std::int64_t>(key_panel_ * 4), 1) *
                engine_.columns) {
        packed_keys_.reserve(near_ / engine_.columns * key_panel_);
        scores_.reserve(kListFloats);
    }

    BadRows bad;

    // `after` is the task that this thread takes next, or null.
    void run(const Task& task, const Task* after, const Candidates& candidates,
             const std::vector<std::int32_t>& order, float* scores, std::int32_t* ids) {
        if (after) {
            ahead_.aim(queries_, order.data() + after->first, after->last - after->first, depth_);
        } else {
            ahead_.aim(queries_, nullptr, 0, depth_);
        }

        const std::int32_t* rows = order.data() + task.first;
        const std::int64_t count = task.last - task.first;
        const std::int32_t* list = candidates.ids + candidates.indptr[task.group];
        std::int64_t length = candidates.indptr[task.group + 1] - candidates.indptr[task.group];
        const bool loose = count < kSharing && k_ <= BestK::kFew;
        const bool whole = !loose && length <= std::min(kListKeys, near_);
        if (!loose && !(whole && k_ == 1)) sort_list(list, length);
        BestK& best = loose ? loose_ : rising_;
        parts_.assign(1, &best);
        if (whole) return scan_list(rows, count, list, length, scores, ids);
        best.reset(count);
        scan_blocks(rows, count, list, length, best);
        for (std::int64_t q = 0; q < count; ++q) {
            const std::int64_t at = std::int64_t{rows[q]} * k_;
            BestK::drain(parts_, q, scratch_, scores + at, ids + at);
        }
    }

  private:
    static constexpr std::int64_t kListKeys = 512;  // largest list for scan_list
    static constexpr std::size_t kListFloats = (kListKeys + gemm::kMaxColumns) * gemm::kMaxRows;

    const float* pack_queries(const std::int32_t* rows, std::int64_t count) {
        packed_queries_.reserve((count + engine_.rows - 1) / engine_.rows * query_panel_);
        bad.query = std::min(
            bad.query, packer_.pack(queries_, nullptr, rows, 0, count, engine_.rows, packed_queries_.get()));
        return packed_queries_.get();
    }
    void pack_keys(const std::int32_t* list, std::int64_t count) {
        bad.key = std::min(
            bad.key, packer_.pack(keys_, key_scales_, list, 0, count, engine_.columns, packed_keys_.get()));
    }

    // All queries of a task against its list, panel by panel.
    void scan_blocks(const std::int32_t* rows, std::int64_t count, const std::int32_t* list,
                     std::int64_t length, BestK& best) {
        const float* packed = pack_queries(rows, count);
        for (std::int64_t n0 = 0; n0 < length; n0 += near_) {
            const std::int64_t nk = std::min(near_, length - n0);
            pack_keys(list + n0, nk);
            const float* panel = packed;
            for (std::int64_t q = 0; q < count; q += engine_.rows, panel += query_panel_) {
                const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, count - q));
                scan_block(panel, q, height, nk, list + n0, best);
            }
        }
    }

    // The same with a list of few keys: all scores of a panel first, then the highest of each query, or a
    // bound for it, and what exceeds it put in order at once. For more than one place the keys are different
    // and in rising order.
    void scan_list(const std::int32_t* rows, std::int64_t count, const std::int32_t* list, std::int64_t nk,
                   float* scores, std::int32_t* ids) {
        const float* panel = pack_queries(rows, count);
        pack_keys(list, nk);
        const std::int64_t stride = (nk + engine_.columns - 1) / engine_.columns * engine_.columns;
        float* table = scores_.get();
        for (std::int64_t q = 0; q < count; q += engine_.rows, panel += query_panel_) {
            const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, count - q));
            const float* keys = packed_keys_.get();
            for (std::int64_t n = 0; n < nk; n += engine_.columns, keys += key_panel_) {
                engine_.kernels[height](panel, keys, depth_, table + n, stride, false);
            }
            for (int i = 0; i < height; ++i) {
                const std::int64_t at = std::int64_t{rows[q + i]} * k_;
                ahead_.ask();
                take_best(table + i * stride, nk, list, scores + at, ids + at);
            }
        }
    }

    void take_best(const float* row, std::int64_t nk, const std::int32_t* list, float* scores,
                   std::int32_t* ids) {
        if (k_ == 1 && nk > 0) return highest_(row, list, nk, scores, ids);
        float high[kListKeys + kRankedRoom];
        std::int32_t high_ids[kListKeys + kRankedRoom];
        const std::int64_t count = collect_(row, list, nk, floor_(row, nk, k_), high, high_ids);
        if (count >= k_ && count <= kRanked) {
            order_(high, high_ids, static_cast<int>(count), k_, scores, ids);
            return;
        }
        rising_.reset(1);
        for (std::int64_t i = 0; i < count; ++i) rising_.offer(0, high[i], high_ids[i]);
        BestK::drain(parts_, 0, scratch_, scores, ids);
    }

    void scan_block(const float* panel, std::int64_t q, int rows, std::int64_t nk, const std::int32_t* list,
                    BestK& best) {
        alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
        std::uint32_t masks[gemm::kMaxRows];
        const float* keys = packed_keys_.get();
        for (std::int64_t n = 0; n < nk; n += engine_.columns, keys += key_panel_) {
            if (!engine_.filters[rows](panel, keys, depth_, best.thresholds(q), panel, tile, masks)) continue;
            const int valid = static_cast<int>(std::min<std::int64_t>(nk - n, engine_.columns));
            offer_tile(engine_, tile, masks, rows, valid, list + n, 0, q, best);
        }
    }

    // Makes the list ascending without repeats; copies only where the caller's is not so already.
    void sort_list(const std::int32_t*& list, std::int64_t& length) {
        if (std::adjacent_find(list, list + length, std::greater_equal<>()) == list + length) return;
        list_.assign(list, list + length);
        std::sort(list_.begin(), list_.end());
        list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
        list = list_.data();
        length = static_cast<std::int64_t>(list_.size());
    }

    Rows queries_, keys_;
    const float* key_scales_;
    std::int64_t depth_;
    int k_;
    const gemm::Engine& engine_;
    Floor floor_;
    Collect collect_;
    Order order_;
    Highest highest_;
    std::size_t query_panel_, key_panel_;
    Packer packer_;
    Ahead ahead_;
    BestK rising_, loose_;
    std::int64_t near_;
    Buffer packed_queries_, packed_keys_, scores_;
    std::vector<std::int32_t> list_;
    std::vector<BestK*> parts_;
    std::vector<std::uint64_t> scratch_;
};

}  // namespace

BadRows search_candidates(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k,
                          const Candidates& candidates, int threads, float* scores, std::int32_t* ids) {
    std::vector<std::int32_t> order;
    std::vector<Task> tasks = plan(candidates, queries.count, order);
    for (std::int64_t q = 0; q < queries.count; ++q) {
        if (candidates.group[q] >= 0) continue;
        std::fill_n(scores + q * k, k, -std::numeric_limits<float>::infinity());
        std::fill_n(ids + q * k, k, -1);
    }
    const auto length_of = [&](const Task& task) {
        return candidates.indptr[task.group + 1] - candidates.indptr[task.group];
    };
    std::int64_t reads = 0, alone = 0;
    const auto sieved = [&](const Task& task) {
        return k <= BestK::kFew && task.last - task.first < kSharing && length_of(task) >= kSieved * k;
    };
    for (const Task& task : tasks) {
        reads += length_of(task);
        if (sieved(task)) alone += length_of(task) * (task.last - task.first);
    }
    std::vector<float> own_scales;  // pays where a key is read more than once
    if (reads > keys.count && !key_scales) own_scales.resize(keys.count);
    const float* scales = key_scales ? key_scales : own_scales.empty() ? nullptr : own_scales.data();
    std::unique_ptr<ByteKeys> bytes;
    if (scales && alone > kByteReads * keys.count && depth <= kMostBytes && keys.count * depth <= kByteKeys)
        bytes = std::make_unique<ByteKeys>(keys.count, depth);
    const int team =
        static_cast<int>(std::clamp<std::int64_t>(static_cast<std::int64_t>(order.size()) / 8, 1, threads));
    std::atomic<std::int64_t> next{0}, bad_query{BadRows::kNone}, bad_key{BadRows::kNone};
    if (!own_scales.empty() || bytes) {
        const gemm::Engine& engine = gemm::engine_for(current_simd());
        constexpr std::int64_t kStep = 16;  // keys that stay in the first cache
        run_team(team, [&](int) {
            for (std::int64_t at; (at = next.fetch_add(kStep)) < keys.count;) {
                const std::int64_t end = std::min(at + kStep, keys.count);
                for (std::int64_t n = at; n < end && !own_scales.empty(); ++n)
                    own_scales[n] = scale_of(engine, keys.data + n * keys.stride, depth);
                if (bytes) bytes->fill(keys, scales, at, end);
            }
        });
        next = 0;
    }
    if (bytes && !bytes->complete()) bytes.reset();
    const auto first_list =
        bytes ? std::stable_partition(tasks.begin(), tasks.end(), [&](const Task& t) { return !sieved(t); })
              : tasks.end();
    const std::int64_t shared = first_list - tasks.begin();
    constexpr std::int64_t kLists = ListSearch::kQueries / (kSharing - 1);
    run_team(team, [&](int) {
        Worker worker(queries, keys, scales, depth, k);
        std::int64_t at;
        std::int64_t after;
        for (at = next.fetch_add(1); at < shared; at = after) {
            after = next.fetch_add(1);
            worker.run(tasks[at], after < shared ? &tasks[after] : nullptr, candidates, order, scores, ids);
        }
        lower(bad_query, worker.bad.query);
        lower(bad_key, worker.bad.key);
        if (!bytes) return;
        ListSearch search(queries, keys, scales, *bytes, depth, k);
        const std::int64_t count = static_cast<std::int64_t>(tasks.size());
        for (; (at = shared + (at - shared) * kLists) < count; at = next.fetch_add(1)) {
            for (std::int64_t t = at; t < std::min(at + kLists, count); ++t) {
                const Task& task = tasks[t];
                for (std::int64_t q = task.first; q < task.last; ++q) {
                    // The rows of the tasks to come stand next in `order`.
                    const std::int64_t soon = std::min<std::int64_t>(q + kQueriesAhead, order.size() - 1);
                    const float* row = queries.data + order[soon] * queries.stride;
                    for (std::int64_t d = 0; d < depth; d += 16) __builtin_prefetch(row + d, 0, 3);
                    const Task& after = q + 1 < task.last || t + 1 == count ? task : tasks[t + 1];
                    search.add(order[q], candidates.ids + candidates.indptr[task.group], length_of(task),
                               candidates.ids + candidates.indptr[after.group], length_of(after));
                }
            }
            search.finish(scores, ids);
        }
        lower(bad_query, search.bad_query);
    });
    return {bad_query, bad_key};
}

}  // namespace radfast::cosine
