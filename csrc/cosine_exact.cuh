// Scores in float32, each one chain of fused multiply-adds in the order of the features: of whole lists, in
// tiles of 128 queries x 64 keys with 8 x 4 scores per thread; and of single offers, gathered 32 at a time.
#pragma once

#include "cosine_best.cuh"

namespace radfast::cosine::device {

constexpr u32 kSquareSums = 16;  // as gemm.h

constexpr u32 kExactQueries = 128, kExactKeys = 64, kExactDepth = 16;
constexpr u32 kExactThreads = 256;
// Rows of a depth-major slab, padded so that the copies in do not all meet in one bank.
constexpr u32 kQueryPitch = kExactQueries + 4, kKeyPitch = kExactKeys + 4;
constexpr u32 kExactSlab = kExactDepth * (kQueryPitch + kKeyPitch);  // floats

struct Lists {
    const float *queries, *keys;  // unit rows, features a multiple of 32
    i64 features;
    const i32* order;        // queries sorted by group; null: as they are
    const i32* query_start;  // (G+1,) places in that order
    const i32* tile_start;   // (G+1,) tiles of 128 of them
    i32 n_groups;
    const i64* indptr;  // (G+1,)
    const i32* ids;     // null: all keys
    u32 k, keep, capacity;
    u64* offers;  // (places, parts, capacity)
    u32* counts;  // (places, parts)
};

// Group that a tile of queries belongs to: the last that starts at or before it and has tiles.
__device__ i32 find_group(const i32* tile_start, i32 n_groups, i32 tile) {
    i32 low = 0, high = n_groups;
    while (high - low > 1) {
        const i32 middle = (low + high) / 2;
        if (tile_start[middle] <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// A slab of 16 features on its way to shared memory: held in registers while the slab before it is
// multiplied.
struct Held {
    float4 queries[2], keys;
};

__device__ float4 read_four(const float* from) { return *reinterpret_cast<const float4*>(from); }

__device__ void put_four(float* to, u32 pitch, float4 values) {
    to[0] = values.x;
    to[pitch] = values.y;
    to[2 * pitch] = values.z;
    to[3 * pitch] = values.w;
}

// Block (x, y): tile x of the queries, part y of its group's list.
__device__ void search_exact(const Lists& lists, unsigned char* arena) {
    const i32 tile = static_cast<i32>(blockIdx.x);
    if (tile >= lists.tile_start[lists.n_groups]) return;
    const i32 group = find_group(lists.tile_start, lists.n_groups, tile);
    const i64 first =
        lists.query_start[group] + static_cast<i64>(tile - lists.tile_start[group]) * kExactQueries;
    const i64 end = lists.query_start[group + 1];
    const u32 n_queries = static_cast<u32>(end - first < kExactQueries ? end - first : kExactQueries);
    const i64 list = lists.indptr[group];
    const Range keys = share_of(lists.indptr[group + 1] - list, blockIdx.y, gridDim.y, kExactKeys);
    const u32 warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes, parts = gridDim.y;
    const u32 row = threadIdx.x / 16 * 8, column = threadIdx.x % 16 * 4;
    u64* limits = reinterpret_cast<u64*>(arena);
    u32* counts = reinterpret_cast<u32*>(limits + kExactQueries);
    float* slabs = reinterpret_cast<float*>(counts + kExactQueries);
    u64* offers = lists.offers + (first * parts + blockIdx.y) * lists.capacity;
    const i64 list_step = static_cast<i64>(parts) * lists.capacity;
    for (u32 i = threadIdx.x; i < kExactQueries; i += blockDim.x) {
        limits[i] = i < n_queries ? 0 : ~0ull;
        counts[i] = 0;
    }
    // Each thread copies 4 features of rows `from` and from + 64 of the queries, and of row `from` of the
    // keys.
    const u32 from = threadIdx.x / 4, piece = threadIdx.x % 4 * 4;
    const float* query_rows[2];
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        const u32 at = from + i * (kExactQueries / 2);
        const i64 place = first + (at < n_queries ? at : n_queries - 1);
        query_rows[i] = lists.queries + (lists.order ? lists.order[place] : place) * lists.features + piece;
    }
    for (i64 start = keys.first; start < keys.last; start += kExactKeys) {
        const i64 at = list + (start + from < keys.last ? start + from : keys.last - 1);
        const float* key_row = lists.keys + (lists.ids ? lists.ids[at] : at) * lists.features + piece;
        const auto hold = [&](i64 d) -> Held {
            return {{read_four(query_rows[0] + d), read_four(query_rows[1] + d)}, read_four(key_row + d)};
        };
        const auto put = [&](const Held& held, float* slab) {
            put_four(slab + piece * kQueryPitch + from, kQueryPitch, held.queries[0]);
            put_four(slab + piece * kQueryPitch + from + kExactQueries / 2, kQueryPitch, held.queries[1]);
            put_four(slab + kExactDepth * kQueryPitch + piece * kKeyPitch + from, kKeyPitch, held.keys);
        };
        float sums[8][4] = {};
        put(hold(0), slabs);
        __syncthreads();
        u32 turn = 0;
        for (i64 d = 0; d < lists.features; d += kExactDepth, turn ^= 1) {
            const bool more = d + kExactDepth < lists.features;
            Held next = {};
            if (more) next = hold(d + kExactDepth);
            const float* slab = slabs + turn * kExactSlab;
#pragma unroll
            for (u32 e = 0; e < kExactDepth; ++e) {
                const float* of_queries = slab + e * kQueryPitch + row;
                const float4 q0 = read_four(of_queries), q1 = read_four(of_queries + 4);
                const float4 n = read_four(slab + kExactDepth * kQueryPitch + e * kKeyPitch + column);
                const float a[8] = {q0.x, q0.y, q0.z, q0.w, q1.x, q1.y, q1.z, q1.w};
                const float b[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
                for (u32 i = 0; i < 8; ++i) {
#pragma unroll
                    for (u32 j = 0; j < 4; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
                }
            }
            if (more) put(next, slabs + (turn ^ 1) * kExactSlab);
            __syncthreads();
        }
#pragma unroll
        for (u32 i = 0; i < 8; ++i) {
#pragma unroll
            for (u32 j = 0; j < 4; ++j) {
                const i64 place = start + column + j;
                if (place >= keys.last) continue;
                const i32 id = lists.ids ? lists.ids[list + place] : static_cast<i32>(list + place);
                const u64 offer = offer_of(sums[i][j], id);
                if (offer > limits[row + i]) {
                    offers[(row + i) * list_step + atomicAdd(&counts[row + i], 1u)] = offer;
                }
            }
        }
        __syncthreads();
        for (u32 i = warp; i < n_queries; i += kExactThreads / kLanes) {
            // A tile adds up to 64, for which there is room above `keep`.
            const u32 n = counts[i];
            if (n <= lists.keep) continue;
            const u64 least = find_kth(offers + i * list_step, n, lists.k, lane);
            const u32 kept = drop_below(offers + i * list_step, n, least, lane);
            if (lane == 0) {
                counts[i] = kept;
                limits[i] = least;
            }
            __syncwarp();
        }
        // The next tile's first barrier comes before its offers.
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n_queries; i += blockDim.x)
        lists.counts[(first + i) * parts + blockIdx.y] = counts[i];
}

constexpr u32 kStagePitch = kLanes + 1;

// Shared memory of a warp of cosine_finish: a list of `size` offers, 32 rows and the query in slabs of 32
// features.
RADFAST_BOTH u32 finish_bytes(u32 size) { return size * 8 + (kLanes * kStagePitch + kLanes) * 4; }

// Says whether a row holds zeros only, to all lanes of a warp.
__device__ bool is_zero(const float* row, i64 features, u32 lane) {
    bool found = false;
    for (i64 d = lane; d < features; d += kLanes) found |= row[d] != 0;
    return __ballot_sync(kWholeWarp, found) == 0;
}

// Gives n offers their float32 scores, by a warp: a lane per offer, rows brought in whole lines.
__device__ void judge_offers(u64* list, u32 n, const float* query, const float* keys, i64 features,
                             float* room, u32 lane) {
    float* of_query = room + kLanes * kStagePitch;
    for (u32 first = 0; first < n; first += kLanes) {
        const u32 here = n - first < kLanes ? n - first : kLanes;
        float sum = 0;
        for (i64 d = 0; d < features; d += kLanes) {
#pragma unroll
            for (u32 step = 0; step < 8; ++step) {
                const u32 r = lane / 8 + 4 * step;
                if (r >= here) continue;
                const float4 four =
                    read_four(keys + id_of_offer(list[first + r]) * features + d + lane % 8 * 4);
                put_four(room + r * kStagePitch + lane % 8 * 4, 1, four);
            }
            of_query[lane] = query[d + lane];
            __syncwarp();
#pragma unroll
            for (u32 e = 0; e < kLanes; ++e) sum = fmaf(of_query[e], room[lane * kStagePitch + e], sum);
            __syncwarp();
        }
        if (lane < here) list[first + lane] = offer_of(sum, id_of_offer(list[first + lane]));
        __syncwarp();
    }
}

}  // namespace radfast::cosine::device
