// Parts that the dense, the candidate and the pruned search share.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstdint>
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

// Floats aligned to cache lines; grows, never shrinks.
class Buffer {
  public:
    float* reserve(std::size_t floats) {
        if (floats > size_) {
            data_.reset(static_cast<float*>(::operator new(floats * sizeof(float), kAlign)));
            size_ = floats;
        }
        return data_.get();
    }
    float* get() const { return data_.get(); }

  private:
    static constexpr std::align_val_t kAlign{64};
    struct Free {
        void operator()(float* p) const { ::operator delete(p, kAlign); }
    };
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

    // Writes the k best, best first.
    void drain(std::int64_t query, float* scores, std::int32_t* ids) {
        std::uint64_t* items = items_.data() + query * capacity_;
        const int found = std::min(counts_[query], k_);
        std::partial_sort(items, items + found, items + counts_[query], std::greater<>());
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
// Returns false when the row is not finite.
bool scale_of(const float* row, std::int64_t depth, float* scale);
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

// Bit j of masks[i] says tile[i][j] > thresholds[i], for j < valid.
using Above = void (*)(const float* tile, int rows, int valid, const float* thresholds, std::uint32_t* masks);
Above above_for(Simd simd);

// Scores `rows` packed queries against the packed keys of `panels` panels and offers what passes to `best`.
// Key j of the block has the id ids[j], or first + j without ids.
void scan_block(const gemm::Engine& engine, Above above, std::int64_t depth, const float* query_panel,
                std::int64_t first_query, int rows, const float* key_panels, std::int64_t keys,
                const std::int32_t* ids, std::int64_t first, BestK& best);

// Runs work(thread) on `threads` threads, this one among them; the first exception is thrown on.
void run_team(int threads, const std::function<void(int)>& work);

}  // namespace radfast::cosine
