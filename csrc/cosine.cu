// Exact cosine top-k on the GPU: cosine.h has the formula and the rules of ties, cosine.cuh the arithmetic
// and why no answer is missed. The scores and ids are those of the CPU, bit for bit (of its AVX2 and AVX-512
// paths).
//
//     cosine_prepare    rows -> unit rows in float32 and float16, and what the rounding lost
//     cosine_tensor_*   tensor cores: every key against every query, keeps what may be among the k best
//     cosine_exact      float32: keys of a list against the queries of its group, keeps the k best
//     cosine_finish     kept offers -> judged by the float32 chain where they are not yet -> sorted answers
//
// Lines that bound it, H200. Dense, Q = 216k, N = 29k, F = 512: 6.4e12 floating point operations, 8.1 ms at
// the 790 TFLOP/s of a large float16 product; the score matrix, which is never written, would move 50 GB and
// take another 12 ms. The judging reads k and a few rows of 4 F bytes per query from the second cache: 5 GB.
// Lists: 2 F operations a pair in float32, 0.5 ms for 216k queries x 150 keys x 512 at 67 TFLOP/s; keys of a
// list are read once per 128 queries. A product kept in registers and filtered there, and not cuBLAS with a
// selection after it, for that matrix's sake, and because only our own sums have an error that can be
// bounded.
#include "cosine_exact.cuh"
#include "cosine_tensor.cuh"

using namespace radfast::cosine::device;

// 16 threads per row; grid: (rows / 16, 1), block: 256. Row r starts at rows[r * stride]; `features` values
// become `padded`, the rest 0. `halves`, `loss` and `largest_loss` may be null. *bad takes the first row,
// counted from `first`, that is not finite; rows whose `looked_at` is 0 are not looked at.
extern "C" __global__ void __launch_bounds__(256)
    cosine_prepare(const float* rows, i64 stride, i64 count, i64 features, i64 padded, float* units,
                   u16* halves, float* loss, u32* largest_loss, const unsigned char* looked_at, i32 first,
                   i32* bad) {
    const i64 row = (static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x) / kSquareSums;
    const u32 lane = threadIdx.x % kSquareSums;
    const bool here = row < count;
    const float* from = rows + (here ? row : 0) * stride;
    double sum = 0;
    for (i64 d = lane; here && d < features; d += kSquareSums) {
        sum = fma(static_cast<double>(from[d]), static_cast<double>(from[d]), sum);
    }
    // The order of gemm.h: halves, quarters, eighths.
#pragma unroll
    for (u32 step = kSquareSums / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, step);
    const bool finite = sum - sum == 0;
    if (here && !finite && lane == 0 && (!looked_at || looked_at[row]))
        atomicMin(bad, first + static_cast<i32>(row));
    const Unit unit = unit_of(finite ? sqrt(sum) : 0.0);
    float lost = 0;
    for (i64 d = lane; here && d < padded; d += kSquareSums) {
        const float value = d < features && finite ? unit_value(from[d], unit) : 0.0f;
        units[row * padded + d] = value;
        if (!halves) continue;
        const u16 half = round_to_half(value);
        halves[row * padded + d] = half;
        const float difference = value - half_to_float(half);
        lost = fmaf(difference, difference, lost);
    }
#pragma unroll
    for (u32 step = kSquareSums / 2; step > 0; step /= 2) lost += __shfl_xor_sync(kWholeWarp, lost, step);
    if (!here || lane != 0) return;
    const float bound = bound_loss(lost);
    if (loss) loss[row] = bound;
    if (largest_loss) atomicMax(largest_loss, bits_of(bound));  // as integers, since it is not negative
}

// grid: (queries / 128, parts of the keys), block: 256, arena: cosine_tensor.cuh's in this order: 1 KB, slabs
// of queries (all of them, or one per stage), a slab of keys per stage.
#define RADFAST_TENSOR(name, stages, queries_stay)                                                     \
    extern "C" __global__ void __launch_bounds__(256, 1)                                               \
        name(const u16* queries, const u16* keys, i64 n_queries, i64 n_keys, i64 features,             \
             const float* query_loss, const u32* key_loss, u32 k, u32 keep, u32 capacity, u64* offers, \
             u32* counts) {                                                                            \
        RADFAST_ARENA(arena);                                                                          \
        search_tensor<stages, queries_stay>({queries, keys, n_queries, n_keys, features, query_loss,   \
                                             key_loss, k, keep, capacity, offers, counts},             \
                                            arena);                                                    \
    }
RADFAST_TENSOR(cosine_tensor_4, 4, true)
RADFAST_TENSOR(cosine_tensor_2, 2, true)
RADFAST_TENSOR(cosine_tensor_deep, 4, false)

// grid: (at least as many tiles of queries as there are, parts of each list), block: 256, arena: 128 limits,
// 128 counts, 2 kExactSlab floats.
extern "C" __global__ void __launch_bounds__(256)
    cosine_exact(const float* queries, const float* keys, i64 features, const i32* order,
                 const i32* query_start, const i32* tile_start, i32 n_groups, const i64* indptr,
                 const i32* ids, u32 k, u32 keep, u32 capacity, u64* offers, u32* counts) {
    RADFAST_ARENA(arena);
    search_exact({queries, keys, features, order, query_start, tile_start, n_groups, indptr, ids, k, keep,
                  capacity, offers, counts},
                 arena);
}

// A warp per query: place p holds the offers (p, parts, capacity) of query order[p], or p. grid: (places /
// warps, 1), arena: per warp, finish_bytes(size), size the power of two that holds parts * keep. Queries
// whose list has overflown are counted in *n_overflown and named in `overflown` instead, but for those of
// zeros, which tie with all of the n_keys keys.
extern "C" __global__ void __launch_bounds__(256)
    cosine_finish(const float* queries, const float* keys, i64 n_keys, i64 features, i64 places,
                  const i32* order, u32 parts, u32 capacity, u32 k, u32 size, i32 scored, const u64* offers,
                  const u32* counts, float* scores, i32* ids, i32* overflown, i32* n_overflown) {
    RADFAST_ARENA(arena);
    const u32 warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
    const i64 place = static_cast<i64>(blockIdx.x) * (blockDim.x / kLanes) + warp;
    if (place >= places) return;
    const i64 query = order ? order[place] : place;
    unsigned char* own = arena + warp * finish_bytes(size);
    u64* list = reinterpret_cast<u64*>(own);
    float* room = reinterpret_cast<float*>(list + size);
    u32 n = 0;
    for (u32 part = 0; part < parts; ++part) {
        const u32 count = counts[place * parts + part];
        if (count == kOverflown) {
            if (is_zero(queries + query * features, features, lane)) {
                for (u32 i = lane; i < k; i += kLanes) {
                    scores[query * k + i] = i < n_keys ? 0.0f : lowest();
                    ids[query * k + i] = i < n_keys ? static_cast<i32>(i) : -1;
                }
            } else if (lane == 0) {
                overflown[atomicAdd(n_overflown, 1)] = static_cast<i32>(query);
            }
            return;
        }
        for (u32 i = lane; i < count; i += kLanes)
            list[n + i] = offers[(place * parts + part) * capacity + i];
        n += count;
    }
    u32 used = 2;
    while (used < n) used *= 2;
    for (u32 i = n + lane; i < used; i += kLanes) list[i] = 0;
    __syncwarp();
    if (!scored) judge_offers(list, n, queries + query * features, keys, features, room, lane);
    sort_offers(list, used, lane);
    for (u32 i = lane; i < k; i += kLanes) {
        const bool there = i < n;
        scores[query * k + i] = there ? score_of_offer(list[i]) : lowest();
        ids[query * k + i] = there ? id_of_offer(list[i]) : -1;
    }
}
