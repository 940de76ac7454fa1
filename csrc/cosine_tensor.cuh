// Scores on the tensor cores: 128 queries against tiles of 256 keys in float16, sums in float32. The queries
// of a block stay in shared memory where they fit, keys stream through a ring of slabs of 32 features; 8
// warps take 64 x 64 scores each. Scores never leave the registers but for the few that pass their query's
// limit.
//
// Per tile and slab a block reads 16 KB of keys for 2^20 multiply-adds: 128 floating point operations a byte,
// so at 600 TFLOP/s the second cache has to give 4.7 TB/s. `mma.sync` and not `wgmma`: it runs on every GPU
// since sm_80.
#pragma once

#include "cosine_best.cuh"
#include "cosine_mma.cuh"

namespace radfast::cosine::device {

constexpr u32 kTileQueries = 128, kTileKeys = 256, kSlab = 32;  // a slab is 32 features, 64 bytes a row
constexpr u32 kTensorThreads = 256;
constexpr u32 kPiece = 8;                         // features of one copy of 16 bytes
constexpr u32 kPieces = kSlab / kPiece;           // of a row of a slab
constexpr u32 kQuerySlab = kTileQueries * kSlab;  // halves
constexpr u32 kKeySlab = kTileKeys * kSlab;
constexpr u32 kHeldOffers = 16;  // a list of up to 512 offers is thinned out in registers

// Place of piece `piece` of row `row` in a slab: turned so that 8 rows of one column of pieces lie in 8
// different groups of banks.
__device__ u32 place_of(u32 row, u32 piece) { return (row * kPieces + (piece ^ ((row >> 1) & 3u))) * kPiece; }

// Asks for `rows` rows from `first` on, features slab * 32 .. + 31; rows behind the last are copies of it.
template <u32 kRows>
__device__ void copy_slab(u16* to, const u16* from, i64 first, i64 count, i64 features, i64 slab) {
#pragma unroll
    for (u32 c = 0; c < kRows * kPieces / kTensorThreads; ++c) {
        const u32 at = threadIdx.x + c * kTensorThreads;
        const u32 row = at / kPieces, piece = at % kPieces;
        const i64 source = first + row < count ? first + row : count - 1;
        copy_later(to + place_of(row, piece), from + source * features + slab * kSlab + piece * kPiece);
    }
}

// sums += queries x keys over one slab, for the 64 x 64 scores of a warp.
__device__ void multiply_slab(const u16* queries, const u16* keys, u32 query_row, u32 key_row, u32 lane,
                              float (&sums)[4][8][4]) {
#pragma unroll
    for (u32 half = 0; half < kSlab / 16; ++half) {
        u32 a[4][4], b[4][4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            load_matrices(a[i], queries + place_of(query_row + 16 * i + lane % 16, 2 * half + lane / 16));
        }
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            const u32 row = key_row + 16 * j + lane % 8 + lane / 16 * 8;
            load_matrices(b[j], keys + place_of(row, 2 * half + lane / 8 % 2));
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
#pragma unroll
            for (u32 j = 0; j < 8; ++j) {
                multiply_add(sums[i][j], a[i], b[j / 2][2 * (j % 2)], b[j / 2][2 * (j % 2) + 1]);
            }
        }
    }
}

// Offers the scores of a warp that pass, and clears the sums. `first` is the id of key 0 of the warp's tile.
__device__ void offer_scores(float (&sums)[4][8][4], u32 query_row, i64 first, i64 last, u32 lane,
                             const float* limits, u32* counts, u64* offers, i64 list_step) {
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
#pragma unroll
        for (u32 h = 0; h < 2; ++h) {
            const u32 row = query_row + 16 * i + 8 * h + lane / 4;
            const float limit = limits[row];
            float best = sums[i][0][2 * h];
#pragma unroll
            for (u32 j = 0; j < 8; ++j) {
                const float larger =
                    sums[i][j][2 * h] > sums[i][j][2 * h + 1] ? sums[i][j][2 * h] : sums[i][j][2 * h + 1];
                best = larger > best ? larger : best;
            }
            if (best >= limit) {
#pragma unroll
                for (u32 j = 0; j < 8; ++j) {
#pragma unroll
                    for (u32 c = 0; c < 2; ++c) {
                        const float score = sums[i][j][2 * h + c];
                        const i64 id = first + 8 * j + 2 * (lane % 4) + c;
                        if (score >= limit && id < last) {
                            offers[row * list_step + atomicAdd(&counts[row], 1u)] =
                                offer_of(score, static_cast<i32>(id));
                        }
                    }
                }
            }
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sums[i][j][2 * h] = sums[i][j][2 * h + 1] = 0.0f;
        }
    }
}

// Thins out the list of a query, by a warp: all that may be among the k best stays.
__device__ void thin_out(u64* offers, u32* count, float* limit, u32 k, u32 keep, float error, u32 lane) {
    const u32 n = *count;
    if (n < k || n == kOverflown) return;
    const float least = score_of(find_kth_rank<kHeldOffers>(offers, n, k, lane)) - 2 * error;
    const u32 kept = drop_below(offers, n, static_cast<u64>(rank_of(least)) << 32, lane);
    if (lane == 0) {
        *count = kept <= keep ? kept : kOverflown;
        *limit = kept <= keep ? least : -lowest();
    }
    __syncwarp();
}

struct Search {
    const u16 *queries, *keys;  // (Q, features), (N, features) float16, features a multiple of 32
    i64 n_queries, n_keys, features;
    const float* query_loss;  // (Q,)
    const u32* key_loss;      // bits of the largest of the keys
    u32 k, keep, capacity;
    u64* offers;  // (Q, parts, capacity)
    u32* counts;  // (Q, parts)
};

// Block (x, y): queries x * 128 .., part y of the keys.
template <u32 kStages, bool kQueriesStay>
__device__ void search_tensor(const Search& search, unsigned char* arena) {
    const i64 first_query = static_cast<i64>(blockIdx.x) * kTileQueries;
    const u32 warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes, parts = gridDim.y;
    const u32 query_row = warp / 4 * 64, key_row = warp % 4 * 64;
    const u32 slabs = static_cast<u32>(search.features / kSlab);
    const Range keys = share_of(search.n_keys, blockIdx.y, parts, kTileKeys);
    float* limits = reinterpret_cast<float*>(arena);
    u32* counts = reinterpret_cast<u32*>(limits + kTileQueries);
    u16* query_slabs = reinterpret_cast<u16*>(counts + kTileQueries);
    u16* key_slabs = query_slabs + (kQueriesStay ? slabs : kStages) * kQuerySlab;
    const i64 list_step = static_cast<i64>(parts) * search.capacity;
    u64* offers = search.offers + (first_query * parts + blockIdx.y) * search.capacity;
    for (u32 row = threadIdx.x; row < kTileQueries; row += blockDim.x) {
        // Rows behind the last query take no offers.
        limits[row] = first_query + row < search.n_queries ? lowest() : -lowest();
        counts[row] = 0;
    }
    const u32 tiles = static_cast<u32>((keys.last - keys.first + kTileKeys - 1) / kTileKeys);
    const u32 steps = tiles * slabs;
    const auto ask = [&](u32 step) {
        if (step < steps) {
            const u32 slab = step % slabs, ring = step % kStages;
            if (!kQueriesStay || step < slabs) {
                copy_slab<kTileQueries>(query_slabs + (kQueriesStay ? slab : ring) * kQuerySlab,
                                        search.queries, first_query, search.n_queries, search.features, slab);
            }
            copy_slab<kTileKeys>(key_slabs + ring * kKeySlab, search.keys,
                                 keys.first + static_cast<i64>(step / slabs) * kTileKeys, search.n_keys,
                                 search.features, slab);
        }
        end_group();
    };
    for (u32 step = 0; step < kStages - 1; ++step) ask(step);
    float sums[4][8][4] = {};
    for (u32 step = 0; step < steps; ++step) {
        await_groups<kStages - 2>();
        __syncthreads();
        ask(step + kStages - 1);
        const u32 slab = step % slabs, ring = step % kStages;
        multiply_slab(query_slabs + (kQueriesStay ? slab : ring) * kQuerySlab, key_slabs + ring * kKeySlab,
                      query_row, key_row, lane, sums);
        if (slab + 1 < slabs) continue;
        const i64 tile = keys.first + static_cast<i64>(step / slabs) * kTileKeys;
        offer_scores(sums, query_row, tile + key_row, keys.last, lane, limits, counts, offers, list_step);
        __syncthreads();
        const bool last = step + 1 == steps;
        for (u32 row = warp; row < kTileQueries; row += kTensorThreads / kLanes) {
            if (first_query + row >= search.n_queries) break;
            // A tile adds up to 256, for which there is room above `keep`.
            if (counts[row] <= search.keep && !last) continue;
            const float error = error_bound(search.query_loss[first_query + row], float_of(*search.key_loss),
                                            static_cast<i32>(search.features));
            thin_out(offers + row * list_step, counts + row, limits + row, search.k, search.keep, error,
                     lane);
        }
    }
    __syncthreads();
    for (u32 row = threadIdx.x; row < kTileQueries; row += blockDim.x) {
        if (first_query + row < search.n_queries) {
            search.counts[(first_query + row) * parts + blockIdx.y] = counts[row];
        }
    }
}

}  // namespace radfast::cosine::device
