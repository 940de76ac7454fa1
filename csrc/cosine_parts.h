// Parts that the dense, the candidate and the pruned search share.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "cosine.h"
#include "cosine_best.h"
#include "gemm.h"

namespace radfast::cosine {

// Bytes of packed keys that stay in the second cache beside the panels of queries that pass through it.
std::int64_t near_bytes();

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

// Factors that make rows unit vectors. Rows of zeros have 0; kSpecial marks rows whose factor no float can
// hold, NaN rows that are not finite.
constexpr float kSpecial = -1.0f;
float scale_of(const gemm::Engine& engine, const float* row, std::int64_t depth);

// Lowers `slot` to `value`.
void lower(std::atomic<std::int64_t>& slot, std::int64_t value);

// Packs rows as unit vectors, panel by panel.
class Packer {
  public:
    Packer(const gemm::Engine& engine, std::int64_t depth) : engine_(engine), depth_(depth) {}

    // Packs `count` rows, those named by ids[0 .. count) or, without ids, those from `first` on, into panels
    // of `width`. `scales` is indexed like the rows; without it factors are computed on the way, and kept in
    // `found`, indexed so too, where that is given. Returns the smallest row that is not finite, or
    // BadRows::kNone.
    std::int64_t pack(const Rows& rows, const float* scales, const std::int32_t* ids, std::int64_t first,
                      std::int64_t count, int width, float* dst, float* found = nullptr);

    // Writes one row as a unit vector; returns 0, or -1 and zeros when it is not finite.
    int unit(const float* row, float* dst);

  private:
    const float* divide(const float* row, int lane);

    const gemm::Engine& engine_;
    std::int64_t depth_;
    Buffer special_;
};

// Offers to `best` what a filter let through: key j of the tile has the id ids[j], or first + j without ids;
// keys from `valid` on are padding.
void offer_tile(const gemm::Engine& engine, const float* tile, const std::uint32_t* masks, int rows,
                int valid, const std::int32_t* ids, std::int64_t first, std::int64_t first_query,
                BestK& best);

// A bound that at least k of the scores exceed, as high as one pass finds it; minus infinity where k is too
// large for such a bound. How: the k-th largest of the maxima of 16 disjoint classes of keys is reached by k.
using Floor = float (*)(const float* scores, std::int64_t keys, int k);
Floor floor_for(Simd simd);
constexpr int kSeedK = 16;  // the largest such k

// scores[i] of a unit query with the rows named by ids, each the chain of gemm.h: for few rows, without
// panels. No scale may be kSpecial or NaN.
void follow_chains(const gemm::Engine& engine, const float* unit, const Rows& rows, const float* scales,
                   const std::int32_t* ids, std::int64_t count, std::int64_t depth, float* scores);

// Runs work(thread) on `threads` threads, this one among them; the first exception is thrown on.
void run_team(int threads, const std::function<void(int)>& work);

}  // namespace radfast::cosine
