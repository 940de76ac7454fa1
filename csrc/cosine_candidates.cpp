// Candidate form: queries are sorted by group, so the keys of a group are gathered and packed once for a
// whole block of its queries. What is left per query is a matrix product as narrow as its list.
#include <numeric>

#include "cosine.h"
#include "cosine_parts.h"

namespace radfast::cosine {
namespace {

// Queries of one task: divides by every tile height, keeps the packed block and its k best in the second
// cache.
constexpr std::int64_t kTaskQueries = 252;

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

// One thread's buffers.
class Worker {
  public:
    Worker(Rows queries, Rows keys, std::int64_t depth, int k)
        : queries_(queries),
          keys_(keys),
          depth_(depth),
          k_(k),
          engine_(gemm::engine_for(current_simd())),
          above_(above_for(engine_.simd)),
          floor_(floor_for(engine_.simd)),
          query_panel_(gemm::panel_floats(depth, engine_.rows)),
          key_panel_(gemm::panel_floats(depth, engine_.columns)),
          packer_(engine_, depth),
          best_(k, slack_for(k)),
          near_(std::max<std::int64_t>(kNearBytes / (depth * 4) / engine_.columns, 1) * engine_.columns) {
        packed_keys_.reserve(near_ / engine_.columns * key_panel_);
        tiles_.reserve(kListFloats);
    }

    BadRows bad;

    void run(const Task& task, const Candidates& candidates, const std::int32_t* order, float* scores,
             std::int32_t* ids) {
        const std::int32_t* rows = order + task.first;
        const std::int64_t count = task.last - task.first;
        const std::int64_t panels = (count + engine_.rows - 1) / engine_.rows;
        packed_queries_.reserve(panels * query_panel_);
        pack(queries_, rows, count, engine_.rows, query_panel_, packed_queries_.get(), &bad.query);
        best_.reset(count);
        const auto [list, length] = sorted_list(candidates, task.group);
        for (std::int64_t n0 = 0; n0 < length; n0 += near_) {
            const std::int64_t nk = std::min(near_, length - n0);
            pack(keys_, list + n0, nk, engine_.columns, key_panel_, packed_keys_.get(), &bad.key);
            for (std::int64_t p = 0; p < panels; ++p) {
                const std::int64_t q = p * engine_.rows;
                const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, count - q));
                const float* panel = packed_queries_.get() + p * query_panel_;
                if (length <= kListKeys && length == nk) {
                    scan_list(engine_, above_, floor_, depth_, panel, q, height, packed_keys_.get(), nk, list,
                              k_, tiles_.get(), best_);
                } else {
                    scan_block(engine_, above_, depth_, panel, q, height, packed_keys_.get(), nk, list + n0,
                               0, best_);
                }
            }
        }
        for (std::int64_t q = 0; q < count; ++q) {
            best_.drain(q, scores + std::int64_t{rows[q]} * k_, ids + std::int64_t{rows[q]} * k_);
        }
    }

  private:
    // Packs the rows named by `ids` into panels of `width`, asking for the rows of the next panel meanwhile.
    void pack(const Rows& rows, const std::int32_t* ids, std::int64_t count, int width, std::size_t panel,
              float* dst, std::int64_t* worst) {
        prefetch(rows, ids, static_cast<int>(std::min<std::int64_t>(width, count)), depth_);
        for (std::int64_t from = 0; from < count; from += width, dst += panel) {
            const int here = static_cast<int>(std::min<std::int64_t>(width, count - from));
            const std::int64_t after = from + here;
            prefetch(rows, ids + after, static_cast<int>(std::min<std::int64_t>(width, count - after)),
                     depth_);
            float scales[gemm::kMaxColumns];
            for (int i = 0; i < here; ++i) {
                const std::int64_t row = ids[from + i];
                if (!scale_of(engine_, rows.data + row * rows.stride, depth_, &scales[i])) {
                    *worst = std::min(*worst, row);
                }
            }
            packer_.pack(rows, scales, ids + from, 0, here, width, dst);
        }
    }

    // The list in ascending order without repeats; a copy only where the caller's is not so already.
    std::pair<const std::int32_t*, std::int64_t> sorted_list(const Candidates& candidates,
                                                             std::int32_t group) {
        const std::int32_t* from = candidates.ids + candidates.indptr[group];
        const std::int32_t* to = candidates.ids + candidates.indptr[group + 1];
        if (std::adjacent_find(from, to, std::greater_equal<>()) == to) return {from, to - from};
        list_.assign(from, to);
        std::sort(list_.begin(), list_.end());
        list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
        return {list_.data(), static_cast<std::int64_t>(list_.size())};
    }

    Rows queries_, keys_;
    std::int64_t depth_;
    int k_;
    const gemm::Engine& engine_;
    Above above_;
    Floor floor_;
    std::size_t query_panel_, key_panel_;
    Packer packer_;
    BestK best_;
    std::int64_t near_;
    Buffer packed_queries_, packed_keys_, tiles_;
    std::vector<std::int32_t> list_;
};

}  // namespace

BadRows search_candidates(Rows queries, Rows keys, std::int64_t depth, int k, const Candidates& candidates,
                          int threads, float* scores, std::int32_t* ids) {
    std::vector<std::int32_t> order;
    const std::vector<Task> tasks = plan(candidates, queries.count, order);
    for (std::int64_t q = 0; q < queries.count; ++q) {
        if (candidates.group[q] >= 0) continue;
        std::fill_n(scores + q * k, k, -std::numeric_limits<float>::infinity());
        std::fill_n(ids + q * k, k, -1);
    }
    const int team =
        static_cast<int>(std::clamp<std::int64_t>(static_cast<std::int64_t>(order.size()) / 8, 1, threads));
    std::atomic<std::int64_t> next{0}, bad_query{BadRows::kNone}, bad_key{BadRows::kNone};
    run_team(team, [&](int) {
        Worker worker(queries, keys, depth, k);
        for (std::int64_t at; (at = next.fetch_add(1)) < static_cast<std::int64_t>(tasks.size());) {
            worker.run(tasks[at], candidates, order.data(), scores, ids);
        }
        lower(bad_query, worker.bad.query);
        lower(bad_key, worker.bad.key);
    });
    return {bad_query, bad_key};
}

}  // namespace radfast::cosine
