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
std::vector<Task> plan(const Candidates& candidates, std::int64_t queries, std::vector<std::int64_t>& order) {
    std::vector<std::int64_t> start(candidates.groups + 1, 0);
    for (std::int64_t q = 0; q < queries; ++q) start[candidates.group[q] + 1] += candidates.group[q] >= 0;
    std::partial_sum(start.begin(), start.end(), start.begin());
    order.resize(start.back());
    std::vector<std::int64_t> at(start.begin(), start.end() - 1);
    for (std::int64_t q = 0; q < queries; ++q) {
        if (candidates.group[q] >= 0) order[at[candidates.group[q]]++] = q;
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
          packer_(engine_, depth),
          best_(k, slack_for(k)),
          near_(std::max<std::int64_t>(kNearBytes / (depth * 4) / engine_.columns, 1) * engine_.columns) {
        packed_keys_.reserve(near_ / engine_.columns * gemm::panel_floats(depth, engine_.columns));
    }

    void run(const Task& task, const Candidates& candidates, const std::int64_t* order,
             const float* query_scales, const float* key_scales, float* scores, std::int32_t* ids) {
        const std::int64_t count = task.last - task.first;
        const std::size_t query_panel = gemm::panel_floats(depth_, engine_.rows);
        const std::size_t key_panel = gemm::panel_floats(depth_, engine_.columns);
        const std::int64_t panels = (count + engine_.rows - 1) / engine_.rows;
        float* packed_queries = packed_queries_.reserve(panels * query_panel);
        for (std::int64_t p = 0; p < panels; ++p) {
            std::int32_t rows[gemm::kMaxRows];
            const std::int64_t from = task.first + p * engine_.rows;
            const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, task.last - from));
            for (int i = 0; i < height; ++i) rows[i] = static_cast<std::int32_t>(order[from + i]);
            packer_.pack(queries_, query_scales, rows, 0, height, engine_.rows,
                         packed_queries + p * query_panel);
        }
        best_.reset(count);
        const auto [list, length] = sorted_list(candidates, task.group);
        for (std::int64_t n0 = 0; n0 < length; n0 += near_) {
            const std::int64_t nk = std::min(near_, length - n0);
            for (std::int64_t n = 0; n < nk; n += engine_.columns) {
                const int width = static_cast<int>(std::min<std::int64_t>(engine_.columns, nk - n));
                packer_.pack(keys_, key_scales, list + n0 + n, 0, width, engine_.columns,
                             packed_keys_.get() + n / engine_.columns * key_panel);
            }
            for (std::int64_t p = 0; p < panels; ++p) {
                const std::int64_t q = p * engine_.rows;
                const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, count - q));
                scan_block(engine_, above_, depth_, packed_queries + p * query_panel, q, height,
                           packed_keys_.get(), nk, list + n0, 0, best_);
            }
        }
        for (std::int64_t q = 0; q < count; ++q) {
            const std::int64_t row = order[task.first + q];
            best_.drain(q, scores + row * k_, ids + row * k_);
        }
    }

  private:
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
    Packer packer_;
    BestK best_;
    std::int64_t near_;
    Buffer packed_queries_, packed_keys_;
    std::vector<std::int32_t> list_;
};

}  // namespace

BadRows search_candidates(Rows queries, Rows keys, std::int64_t depth, int k, const Candidates& candidates,
                          int threads, float* scores, std::int32_t* ids) {
    std::fill(scores, scores + queries.count * k, -std::numeric_limits<float>::infinity());
    std::fill(ids, ids + queries.count * k, -1);
    std::vector<std::int64_t> order;
    const std::vector<Task> tasks = plan(candidates, queries.count, order);
    if (tasks.empty()) return {};

    // Only keys that stand in a list in use are measured and checked.
    std::vector<std::uint8_t> used(keys.count, 0);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (t > 0 && tasks[t].group == tasks[t - 1].group) continue;
        const std::int32_t* list = candidates.ids;
        for (auto i = candidates.indptr[tasks[t].group]; i < candidates.indptr[tasks[t].group + 1]; ++i)
            used[list[i]] = 1;
    }
    std::vector<float> query_scales(queries.count), key_scales(keys.count);
    std::atomic<std::int64_t> bad_query{BadRows::kNone}, bad_key{BadRows::kNone};
    const int team = static_cast<int>(std::clamp<std::int64_t>(queries.count / 8, 1, threads));

    constexpr std::int64_t kStep = 512;
    std::atomic<std::int64_t> next_query{0}, next_key{0}, next_task{0};
    run_team(team, [&](int) {
        for (std::int64_t at; (at = next_query.fetch_add(kStep)) < static_cast<std::int64_t>(order.size());) {
            for (std::int64_t i = at; i < std::min<std::int64_t>(at + kStep, order.size()); ++i) {
                const std::int64_t q = order[i];
                if (scale_of(queries.data + q * queries.stride, depth, &query_scales[q])) continue;
                query_scales[q] = 0;
                lower(bad_query, q);
            }
        }
        for (std::int64_t at; (at = next_key.fetch_add(kStep)) < keys.count;) {
            for (std::int64_t n = at; n < std::min(at + kStep, keys.count); ++n) {
                if (!used[n] || scale_of(keys.data + n * keys.stride, depth, &key_scales[n])) continue;
                key_scales[n] = 0;
                lower(bad_key, n);
            }
        }
    });
    if (bad_query != BadRows::kNone || bad_key != BadRows::kNone) return {bad_query, bad_key};
    run_team(team, [&](int) {
        Worker worker(queries, keys, depth, k);
        for (std::int64_t at; (at = next_task.fetch_add(1)) < static_cast<std::int64_t>(tasks.size());) {
            worker.run(tasks[at], candidates, order.data(), query_scales.data(), key_scales.data(), scores,
                       ids);
        }
    });
    return {};
}

}  // namespace radfast::cosine
