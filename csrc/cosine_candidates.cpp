// Candidate form: queries are sorted by group, so the keys of a group are gathered and packed once for a
// whole block of its queries. What is left per query is a matrix product as narrow as its list.
#include <numeric>

#include "cosine.h"
#include "cosine_bytes.h"
#include "cosine_parts.h"

namespace radfast::cosine {
namespace {

// Queries of one task: divides by every tile height, keeps the packed block and its k best in the second
// cache.
constexpr std::int64_t kTaskQueries = 252;
// Queries for which a list is sorted: to sort it takes one query longer than to search it.
constexpr std::int64_t kSharing = 4;
// Keys are also made into bytes where lists of few queries read each at least so often, up to this size.
constexpr std::int64_t kByteReads = 4, kByteKeys = 48 << 20;

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
    Worker(Rows queries, Rows keys, const float* key_scales, const ByteKeys* bytes, std::int64_t depth, int k)
        : queries_(queries),
          keys_(keys),
          key_scales_(key_scales),
          bytes_(bytes),
          depth_(depth),
          k_(k),
          engine_(gemm::engine_for(current_simd())),
          floor_(floor_for(engine_.simd)),
          quantise_(quantise_for(engine_.simd)),
          byte_dots_(byte_dots_for(engine_.simd)),
          query_panel_(gemm::panel_floats(depth, engine_.rows)),
          key_panel_(gemm::panel_floats(depth, engine_.columns)),
          packer_(engine_, depth),
          rising_(k, true),
          loose_(std::min(k, BestK::kFew), false),
          near_best_(std::min(k, BestK::kFew), false),
          near_(std::max<std::int64_t>(2 * near_bytes() / static_cast<std::int64_t>(key_panel_ * 4), 1) *
                engine_.columns) {
        packed_keys_.reserve(near_ / engine_.columns * key_panel_);
        scores_.reserve(kListFloats);
    }

    BadRows bad;

    void run(const Task& task, const Candidates& candidates, const std::vector<std::int32_t>& order,
             float* scores, std::int32_t* ids) {
        const std::int32_t* rows = order.data() + task.first;
        const std::int64_t last = static_cast<std::int64_t>(order.size()) - task.first;
        const std::int64_t count = task.last - task.first;
        const std::int32_t* list = candidates.ids + candidates.indptr[task.group];
        std::int64_t length = candidates.indptr[task.group + 1] - candidates.indptr[task.group];
        const bool loose = count < kSharing && k_ <= BestK::kFew;
        if (!loose) sort_list(list, length);
        BestK& best = loose ? loose_ : rising_;
        best.reset(count);
        if (loose && bytes_ && length >= kSieved * k_) {
            for (std::int64_t q = 0; q < count; ++q) {
                // The rows of the tasks to come stand next in `order`.
                const float* soon = queries_.data + rows[std::min(q + 3, last - 1)] * queries_.stride;
                for (std::int64_t d = 0; d < depth_; d += 16) __builtin_prefetch(soon + d, 0, 3);
                scan_bytes(rows[q], q, list, length, best);
            }
        } else {
            scan_panels(rows, count, list, length, loose, best);
        }
        parts_.assign(1, &best);
        for (std::int64_t q = 0; q < count; ++q) {
            const std::int64_t at = std::int64_t{rows[q]} * k_;
            BestK::drain(parts_, q, scratch_, scores + at, ids + at);
        }
    }

  private:
    static constexpr std::int64_t kListKeys = 512;  // largest list for scan_list
    static constexpr std::int64_t kSieved = 4;      // keys per answer from which bytes are looked at first
    static constexpr std::size_t kListFloats = (kListKeys + gemm::kMaxColumns) * gemm::kMaxRows;

    // All queries of a task against its list, panel by panel.
    void scan_panels(const std::int32_t* rows, std::int64_t count, const std::int32_t* list,
                     std::int64_t length, bool loose, BestK& best) {
        const std::int64_t panels = (count + engine_.rows - 1) / engine_.rows;
        packed_queries_.reserve(panels * query_panel_);
        bad.query = std::min(
            bad.query, packer_.pack(queries_, nullptr, rows, 0, count, engine_.rows, packed_queries_.get()));
        for (std::int64_t n0 = 0; n0 < length; n0 += near_) {
            const std::int64_t nk = std::min(near_, length - n0);
            bad.key = std::min(bad.key, packer_.pack(keys_, key_scales_, list + n0, 0, nk, engine_.columns,
                                                     packed_keys_.get()));
            for (std::int64_t q = 0; q < count; q += engine_.rows) {
                const int height = static_cast<int>(std::min<std::int64_t>(engine_.rows, count - q));
                const float* panel = packed_queries_.get() + q / engine_.rows * query_panel_;
                if (!loose && length <= kListKeys && length == nk) {
                    scan_list(panel, q, height, nk, list, best);
                } else {
                    scan_block(panel, q, height, nk, list + n0, best);
                }
            }
        }
    }

    // All scores of a few keys first, then a threshold, then the offers.
    void scan_list(const float* panel, std::int64_t q, int rows, std::int64_t nk, const std::int32_t* list,
                   BestK& best) {
        const std::int64_t stride = (nk + engine_.columns - 1) / engine_.columns * engine_.columns;
        float* table = scores_.get();
        const float* keys = packed_keys_.get();
        for (std::int64_t n = 0; n < nk; n += engine_.columns, keys += key_panel_) {
            engine_.kernels[rows](panel, keys, depth_, table + n, stride, false);
        }
        std::uint32_t masks[kListKeys / 32 + 1];
        for (int i = 0; i < rows; ++i) {
            const float* row = table + i * stride;
            engine_.above(row, nk, floor_(row, nk, k_), masks);
            for (std::int64_t n = 0; n < nk; n += 32) {
                for (std::uint32_t mask = masks[n / 32]; mask; mask &= mask - 1) {
                    const std::int64_t j = n + std::countr_zero(mask);
                    best.offer(q + i, row[j], list[j]);
                }
            }
        }
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

    // One query: the products of its bytes tell which keys may be among the best; these alone are read whole.
    void scan_bytes(std::int64_t query, std::int64_t q, const std::int32_t* list, std::int64_t length,
                    BestK& best) {
        unit_.resize(depth_);
        query_bytes_.resize(depth_);
        wide_.resize(depth_);
        sums_.resize(length);
        about_.resize(length);
        if (packer_.unit(queries_.data + query * queries_.stride, unit_.data()) != 0)
            bad.query = std::min(bad.query, query);
        const ByteRow own = quantise_(unit_.data(), 1.0f, depth_, query_bytes_.data());
        std::copy(query_bytes_.begin(), query_bytes_.end(), wide_.begin());
        byte_dots_(wide_.data(), bytes_->data(), list, length, depth_, sums_.data());
        for (std::int64_t i = 0; i < length; ++i)
            about_[i] = static_cast<float>(sums_[i]) * (own.step * bytes_->steps()[list[i]]);
        // The k-th best of different keys by their bytes; a list with repeats may need a second look.
        for (float floor : {floor_(about_.data(), length, k_), -std::numeric_limits<float>::infinity()}) {
            near_best_.reset(1);
            masks_.resize((length + 31) / 32);
            engine_.above(about_.data(), length, floor, masks_.data());
            for (std::int64_t n = 0; n < length; n += 32) {
                for (std::uint32_t mask = masks_[n / 32]; mask; mask &= mask - 1) {
                    const std::int64_t i = n + std::countr_zero(mask);
                    near_best_.offer(0, about_[i], list[i]);
                }
            }
            if (std::isfinite(*near_best_.thresholds(0))) break;
        }
        const float floor = *near_best_.thresholds(0) - 2 * bytes_->margin(own.error);
        engine_.above(about_.data(), length, floor, masks_.data());
        kept_.clear();
        for (std::int64_t n = 0; n < length; n += 32) {
            for (std::uint32_t mask = masks_[n / 32]; mask; mask &= mask - 1) {
                kept_.push_back(list[n + std::countr_zero(mask)]);
                const float* row = keys_.data + kept_.back() * keys_.stride;
                for (std::int64_t d = 0; d < depth_; d += 16) __builtin_prefetch(row + d, 0, 3);
            }
        }
        sums_of_few_.resize(kept_.size());
        follow_chains(engine_, unit_.data(), keys_, key_scales_, kept_.data(),
                      static_cast<std::int64_t>(kept_.size()), depth_, sums_of_few_.data());
        for (std::size_t j = 0; j < kept_.size(); ++j) best.offer(q, sums_of_few_[j], kept_[j]);
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
    const ByteKeys* bytes_;
    std::int64_t depth_;
    int k_;
    const gemm::Engine& engine_;
    Floor floor_;
    Quantise quantise_;
    ByteDots byte_dots_;
    std::size_t query_panel_, key_panel_;
    Packer packer_;
    BestK rising_, loose_, near_best_;
    std::int64_t near_;
    Buffer packed_queries_, packed_keys_, scores_;
    std::vector<std::int32_t> list_, sums_, kept_;
    std::vector<std::int8_t> query_bytes_;
    std::vector<std::int16_t> wide_;
    std::vector<float> unit_, about_, sums_of_few_;
    std::vector<std::uint32_t> masks_;
    std::vector<BestK*> parts_;
    std::vector<std::uint64_t> scratch_;
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
    std::int64_t reads = 0, alone = 0;
    for (const Task& task : tasks) {
        const std::int64_t length = candidates.indptr[task.group + 1] - candidates.indptr[task.group];
        reads += length;
        if (task.last - task.first < kSharing) alone += length;
    }
    std::vector<float> scales;  // pays where a key is read more than once
    if (reads > keys.count) scales.resize(keys.count);
    const int team =
        static_cast<int>(std::clamp<std::int64_t>(static_cast<std::int64_t>(order.size()) / 8, 1, threads));
    std::atomic<std::int64_t> next{0}, bad_query{BadRows::kNone}, bad_key{BadRows::kNone};
    if (!scales.empty()) {
        const gemm::Engine& engine = gemm::engine_for(current_simd());
        constexpr std::int64_t kStep = 256;
        run_team(team, [&](int) {
            for (std::int64_t at; (at = next.fetch_add(kStep)) < keys.count;) {
                for (std::int64_t n = at; n < std::min(at + kStep, keys.count); ++n)
                    scales[n] = scale_of(engine, keys.data + n * keys.stride, depth);
            }
        });
        next = 0;
    }
    std::unique_ptr<ByteKeys> bytes;
    if (alone > kByteReads * keys.count && k <= BestK::kFew && depth <= kMostBytes &&
        keys.count * depth <= kByteKeys) {
        bytes = std::make_unique<ByteKeys>(keys, depth, scales.data(), team);
        if (!bytes->complete()) bytes.reset();
    }
    run_team(team, [&](int) {
        Worker worker(queries, keys, scales.empty() ? nullptr : scales.data(), bytes.get(), depth, k);
        for (std::int64_t at; (at = next.fetch_add(1)) < static_cast<std::int64_t>(tasks.size());) {
            worker.run(tasks[at], candidates, order, scores, ids);
        }
        lower(bad_query, worker.bad.query);
        lower(bad_key, worker.bad.key);
    });
    return {bad_query, bad_key};
}

}  // namespace radfast::cosine
