// The best of a stream of offers per query, on the GPU: a block appends what passes a query's limit to a list
// in global memory, and a warp thins the list out when it is long, which lifts the limit.
#pragma once

#include "cosine.cuh"

namespace radfast::cosine::device {

constexpr u32 kLanes = 32;
constexpr u32 kWholeWarp = 0xFFFFFFFFu;
constexpr u32 kOverflown = 0xFFFFFFFFu;  // count of a list that could not be thinned out

__device__ u32 sum_of_warp(u32 x) {
#pragma unroll
    for (u32 step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(kWholeWarp, x, step);
    return x;
}

// The k-th largest of `count` >= k offers, by a warp; of equal ones (none are) any.
__device__ u64 find_kth(const u64* offers, u32 count, u32 k, u32 lane) {
    u64 found = 0;
    for (u64 bit = 1ull << 63; bit > 0; bit >>= 1) {
        u32 above = 0;
        for (u32 i = lane; i < count; i += kLanes) above += offers[i] >= (found | bit);
        if (sum_of_warp(above) >= k) found |= bit;
    }
    return found;
}

// The rank (upper half of an offer) of the k-th largest of `count` offers, k <= count <= 32 * kHeld, by a
// warp that holds them in registers.
template <u32 kHeld>
__device__ u32 find_kth_rank(const u64* offers, u32 count, u32 k, u32 lane) {
    u32 held[kHeld];
#pragma unroll
    for (u32 r = 0; r < kHeld; ++r) {
        const u32 i = lane + r * kLanes;
        held[r] = i < count ? static_cast<u32>(offers[i] >> 32) : 0;
    }
    u32 found = 0;
    for (u32 bit = 1u << 31; bit > 0; bit >>= 1) {
        u32 above = 0;
#pragma unroll
        for (u32 r = 0; r < kHeld; ++r) above += held[r] >= (found | bit);
        if (sum_of_warp(above) >= k) found |= bit;
    }
    return found;
}

// Moves the offers of at least `least` to the front, by a warp; returns how many there are.
__device__ u32 drop_below(u64* offers, u32 count, u64 least, u32 lane) {
    u32 kept = 0;
    for (u32 first = 0; first < count; first += kLanes) {
        const u32 i = first + lane;
        const u64 offer = i < count ? offers[i] : 0;
        const bool stays = i < count && offer >= least;
        const u32 all = __ballot_sync(kWholeWarp, stays);
        // All of these were read above, and go no further back than they came from.
        if (stays) offers[kept + __popc(all & ((1u << lane) - 1))] = offer;
        kept += __popc(all);
        __syncwarp();
    }
    return kept;
}

// Sorts `size` offers, a power of two, best first, by a warp in shared memory (bitonic).
__device__ void sort_offers(u64* offers, u32 size, u32 lane) {
    for (u32 run = 2; run <= size; run *= 2) {
        for (u32 step = run / 2; step > 0; step /= 2) {
            for (u32 i = lane; i < size / 2; i += kLanes) {
                const u32 low = 2 * i - (i & (step - 1)), high = low + step;
                const u64 a = offers[low], b = offers[high];
                const bool falling = (low & run) == 0;
                if (falling ? a < b : a > b) {
                    offers[low] = b;
                    offers[high] = a;
                }
            }
            __syncwarp();
        }
    }
}

// The share of [0, count) that falls to part `part` of `parts`, in steps of `step`.
struct Range {
    i64 first, last;
};
__device__ Range share_of(i64 count, u32 part, u32 parts, u32 step) {
    const i64 tiles = (count + step - 1) / step;
    const i64 first = tiles * part / parts * step, last = tiles * (part + 1) / parts * step;
    return {first < count ? first : count, last < count ? last : count};
}

}  // namespace radfast::cosine::device
