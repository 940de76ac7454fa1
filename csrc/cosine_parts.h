// Parts that the dense, the candidate and the pruned search share.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "cosine.h"
#include "gemm.h"

namespace radfast::cosine {

// Bytes of packed keys that stay in the second cache, and of a block of packed rows shared by all threads.
constexpr std::int64_t kNearBytes = 384 << 10;
constexpr std::int64_t kBlockBytes = 8 << 20;

// Floats aligned to cache lines, in large pages where the system has them; grows, never shrinks.
class Buffer {
  public:
    float* reserve(std::size_t floats) {
        if (floats > size_) {
            data_.reset();
            data_.reset(allocate(floats));
            size_ = floats;
        }
        return data_.get();
    }
    float* get() const { return data_.get(); }

  private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    static float* allocate(std::size_t floats);

    std::unique_ptr<float, Free> data_;
    std::size_t size_ = 0;
};

// The k best of a stream per query. Offers come with ascending ids, so an offer that only equals the k-th
// loses.
class BestK {
  public:
    BestK(int k, int slack) : k_(k), capacity_(k + slack) {}

    void reset(std::int64_t queries) {
        items_.resize(static_cast<std::size_t>(queries) * capacity_);
        counts_.assign(queries, 0);
        thresholds_.assign(queries, -std::numeric_limits<float>::infinity());
    }
    static std::int64_t bytes_per_query(int k, int slack) { return std::int64_t{8} * (k + slack) + 8; }

    // Scores at or below it can no longer enter.
    const float* thresholds(std::int64_t query) const { return thresholds_.data() + query; }

    void offer(std::int64_t query, float score, std::int32_t id) {
        if (!(score > thresholds_[query])) return;
        std::uint64_t* items = items_.data() + query * capacity_;
        items[counts_[query]++] = encode(score, id);
        if (counts_[query] == capacity_) shrink(query);
    }

    // Brings the threshold up to date.
    void tighten(std::int64_t query) {
        if (counts_[query] >= k_) shrink(query);
    }

    // Tells that at least k offers of this query will score above `threshold`.
    void raise(std::int64_t query, float threshold) {
        thresholds_[query] = std::max(thresholds_[query], threshold);
    }

    // Writes the k best, best first.
    void drain(std::int64_t query, float* scores, std::int32_t* ids) {
        std::uint64_t* items = items_.data() + query * capacity_;
        const int found = std::min(counts_[query], k_);
        constexpr int kFew = 32;  // the heap of partial_sort is slower than plain insertion
        if (counts_[query] <= kFew) {
            for (int i = 1; i < counts_[query]; ++i) {
                const std::uint64_t item = items[i];
                int at = i;
                for (; at > 0 && items[at - 1] < item; --at) items[at] = items[at - 1];
                items[at] = item;
            }
        } else {
            std::partial_sort(items, items + found, items + counts_[query], std::greater<>());
        }
        for (int i = 0; i < found; ++i) {
            scores[i] = score_of(items[i]);
            ids[i] = static_cast<std::int32_t>(~static_cast<std::uint32_t>(items[i]));
        }
        std::fill(scores + found, scores + k_, -std::numeric_limits<float>::infinity());
        std::fill(ids + found, ids + k_, -1);
    }

  private:
    // One integer whose order is that of (score ascending, id descending); adding 0 turns -0 into 0.
    static std::uint64_t encode(float score, std::int32_t id) {
        std::uint32_t bits = std::bit_cast<std::uint32_t>(score + 0.0f);
        bits = (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
        return (static_cast<std::uint64_t>(bits) << 32) | ~static_cast<std::uint32_t>(id);
    }
    static float score_of(std::uint64_t item) {
        std::uint32_t bits = static_cast<std::uint32_t>(item >> 32);
        bits = (bits & 0x80000000u) ? bits & 0x7fffffffu : ~bits;
        return std::bit_cast<float>(bits);
    }
    void shrink(std::int64_t query) {
        std::uint64_t* items = items_.data() + query * capacity_;
        std::nth_element(items, items + k_ - 1, items + counts_[query], std::greater<>());
        counts_[query] = k_;
        thresholds_[query] = score_of(items[k_ - 1]);
    }

    int k_, capacity_;
    std::vector<std::uint64_t> items_;
    std::vector<int> counts_;
    std::vector<float> thresholds_;
};

// Room for offers beyond k before the worst are thrown out: larger means fewer passes, but later thresholds.
inline int slack_for(int k) { return std::max(k, 24); }

// Factors that make rows unit vectors; kSpecial marks rows whose factor no float can hold.
constexpr float kSpecial = -1.0f;
// Returns false, and the scale 0, when the row is not finite.
bool scale_of(const gemm::Engine& engine, const float* row, std::int64_t depth, float* scale);
// Lowers `slot` to `value`.
void lower(std::atomic<std::int64_t>& slot, std::int64_t value);

// Packs rows [first, first + count), or those named by `ids`, as unit vectors. `scales` is indexed like the
// rows.
class Packer {
  public:
    Packer(const gemm::Engine& engine, std::int64_t depth) : engine_(engine), depth_(depth) {}
    void pack(const Rows& rows, const float* scales, const std::int32_t* ids, std::int64_t first, int count,
              int width, float* dst);

  private:
    const gemm::Engine& engine_;
    std::int64_t depth_;
    Buffer special_;
};

// Bit j of masks[i] says tile[i][j] > thresholds[i], for j < valid. Returns 0 when no bit is set.
using Above = std::uint32_t (*)(const float* tile, int rows, int valid, const float* thresholds,
                                std::uint32_t* masks);
Above above_for(Simd simd);

// A value that at least k of the `keys` scores of row i of the tiles exceed or equal, stepped down by one
// float so that all of them lie above it; minus infinity where k is too large for such a bound. How: the k-th
// largest of the maxima of disjoint classes of keys (their lanes) is reached by k keys.
using Floor = float (*)(const float* tiles, int row, std::int64_t keys, int k);
Floor floor_for(Simd simd);

// Asks for all lines of the rows that a later pack reads.
void prefetch(const Rows& rows, const std::int32_t* ids, int count, std::int64_t depth);

// As scan_block, for the few keys of a list: all scores first, then a threshold, then the offers.
void scan_list(const gemm::Engine& engine, Above above, Floor floor, std::int64_t depth,
               const float* query_panel, std::int64_t first_query, int rows, const float* key_panels,
               std::int64_t keys, const std::int32_t* ids, int k, float* tiles, BestK& best);
constexpr std::int64_t kListKeys = 512;  // largest list for scan_list
constexpr std::size_t kListFloats = (kListKeys + gemm::kMaxColumns) * gemm::kMaxRows;

// Scores `rows` packed queries against the packed keys of `panels` panels and offers what passes to `best`.
// Key j of the block has the id ids[j], or first + j without ids.
void scan_block(const gemm::Engine& engine, Above above, std::int64_t depth, const float* query_panel,
                std::int64_t first_query, int rows, const float* key_panels, std::int64_t keys,
                const std::int32_t* ids, std::int64_t first, BestK& best);

// Runs work(thread) on `threads` threads, this one among them; the first exception is thrown on.
void run_team(int threads, const std::function<void(int)>& work);

}  // namespace radfast::cosine
