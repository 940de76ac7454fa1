// Metropolis-Hastings passes of the `gibbs` kernel on the GPU: gibbs.h has the method, gibbs.cuh the
// arithmetic of a token. Same records, same schedule, same streams as the CPU: the topics are the CPU's, bit
// for bit.
//
// Roofline. A sweep must move, per token, at any K:
//     pass over words       read 8 + write 8, in order                                             16 bytes
//     pass over documents   read position 4; read and write a record of 8 at random: 2 sectors     68 bytes
// 84 bytes, so 4.3 TB/s (H200) allow 5.1e10 tokens/s. Words of more than 2048 tokens are read twice and
// pass through `fresh`: 12 bytes more. Records of 4 bytes (K <= 256) would save 8 of the 84: not done.
// Counts, totals and the new topics of a unit stay in shared memory; the totals' changes are gathered there
// and added once per block. No counter is contended.
//
// A unit (the tokens of a word or of a document) falls into one of three classes by its length n:
//     n <= 32      one warp, a token per lane; up to 8 are judged in order (gibbs.h), one mover at a time
//     n <= 2048    one warp or one block, records in registers, counts of the unit in shared memory
//     longer       blocks of kSegment tokens in three launches: count, judge, propose
//
// All random numbers are named by unit and place: classes, grids and chunks change no result.
#include "gibbs_unit.cuh"

// Every kernel of a pass takes a Pass as the plain arguments of RADFAST_PASS, in that order.

using namespace radfast::gibbs::device;

#define RADFAST_PASS                                                                                         \
    const i64 *start, const i32 *group, const u32 *position, u64 *records, i64 base, const float *inverse,   \
        const i32 *totals, i32 *moved, i32 stride, i32 entries, i32 n_topics, float value, double prior_sum, \
        const float *values, const u32 *keep, const u32 *instead, float smoothing, u64 seed, i64 sweep,      \
        i64 next_sweep, i32 over_documents, i32 only_propose
#define RADFAST_OPEN                                                            \
    const Pass pass{start,                                                      \
                    group,                                                      \
                    position,                                                   \
                    records,                                                    \
                    base,                                                       \
                    inverse,                                                    \
                    totals,                                                     \
                    moved,                                                      \
                    stride,                                                     \
                    entries,                                                    \
                    n_topics,                                                   \
                    {value, prior_sum, values, keep, instead},                  \
                    smoothing,                                                  \
                    seed,                                                       \
                    sweep,                                                      \
                    next_sweep,                                                 \
                    over_documents ? u32{judge_document} : u32{judge_word},     \
                    over_documents ? u32{propose_document} : u32{propose_word}, \
                    only_propose};                                              \
    RADFAST_ARENA(arena);                                                       \
    const Tables tables = open_tables(pass, cached, arena)

// grid: any; block: kBlock; arena: tables where cached.
extern "C" __global__ void __launch_bounds__(256)
    gibbs_pass_short(RADFAST_PASS, const i32* units, i32 n_units, i32 cached) {
    RADFAST_OPEN;
    __syncthreads();
    work_short(pass, tables, units, n_units);
    close_tables(pass, cached, tables);
}

// grid: any; block: whole warps; arena: tables where cached, then per warp stride counts and 32 * kHeld
// topics.
template <u32 kHeld>
__device__ void pass_warps(const Pass& pass, const Tables& tables, const i32* units, i32 n_units,
                           i32 cached) {
    const u32 warps = blockDim.x / kLanes, warp = threadIdx.x / kLanes;
    i32* counts = reinterpret_cast<i32*>(tables.rest);
    u16* fresh = reinterpret_cast<u16*>(counts + static_cast<i64>(warps) * pass.stride);
    for (i64 k = threadIdx.x; k < static_cast<i64>(warps) * pass.stride; k += blockDim.x) counts[k] = 0;
    __syncthreads();
    work_held<kLanes, kHeld>(pass, tables, units, n_units, counts + static_cast<i64>(warp) * pass.stride,
                             fresh + warp * kLanes * kHeld);
    close_tables(pass, cached, tables);
}

extern "C" __global__ void __launch_bounds__(256)
    gibbs_pass_128(RADFAST_PASS, const i32* units, i32 n_units, i32 cached) {
    RADFAST_OPEN;
    pass_warps<4>(pass, tables, units, n_units, cached);
}

extern "C" __global__ void __launch_bounds__(256)
    gibbs_pass_256(RADFAST_PASS, const i32* units, i32 n_units, i32 cached) {
    RADFAST_OPEN;
    pass_warps<8>(pass, tables, units, n_units, cached);
}

// grid: any; block: kBlock; arena: tables where cached, then stride counts and 2048 topics.
extern "C" __global__ void __launch_bounds__(256)
    gibbs_pass_2048(RADFAST_PASS, const i32* units, i32 n_units, i32 cached) {
    RADFAST_OPEN;
    i32* counts = reinterpret_cast<i32*>(tables.rest);
    for (i32 k = threadIdx.x; k < stride; k += blockDim.x) counts[k] = 0;
    __syncthreads();
    work_held<kBlock, 8>(pass, tables, units, n_units, counts, reinterpret_cast<u16*>(counts + stride));
    close_tables(pass, cached, tables);
}

// Long units. grid: one block per segment; block: kBlock. Segment b is tokens firsts[b].. of unit units[b],
// whose counts are row rows[b] of `counts` (.., stride), zeroed before. arena: stride counts where cached.
extern "C" __global__ void __launch_bounds__(256)
    gibbs_count(const i64* start, const u32* position, const u64* records, i64 base, const i32* units,
                const i32* firsts, const i32* rows, i32* counts, i32 stride, i32 cached) {
    const Pass pass{start, nullptr, position, const_cast<u64*>(records), base};
    const Segment segment = open_segment(start, units, firsts);
    RADFAST_ARENA(arena);
    i32* row = counts + static_cast<i64>(rows[blockIdx.x]) * stride;
    i32* here = cached ? reinterpret_cast<i32*>(arena) : row;
    if (cached) {
        for (i32 k = threadIdx.x; k < stride; k += blockDim.x) here[k] = 0;
    }
    __syncthreads();
    for (u32 i = segment.first + threadIdx.x; i < segment.last; i += blockDim.x) {
        atomicAdd(&here[part_of(records[pass.slot(segment.begin, i)], 0)], 1);
    }
    if (!cached) return;
    __syncthreads();
    for (i32 k = threadIdx.x; k < stride; k += blockDim.x) {
        if (here[k] != 0) atomicAdd(&row[k], here[k]);
    }
}

// As gibbs_count; arena: tables where cached. New topics go to fresh[start[unit] - base + i].
extern "C" __global__ void __launch_bounds__(256)
    gibbs_judge_long(RADFAST_PASS, const i32* units, const i32* firsts, const i32* rows, const i32* counts,
                     u16* fresh, i32 cached) {
    RADFAST_OPEN;
    __syncthreads();
    const Segment segment = open_segment(start, units, firsts);
    const i32* of_unit = counts + static_cast<i64>(rows[blockIdx.x]) * stride;
    const i64 row = static_cast<i64>(group[segment.unit]) * stride;
    const Key key = pass.judging(segment.unit);
    for (u32 i = segment.first + threadIdx.x; i < segment.last; i += blockDim.x) {
        const u64 record = records[pass.slot(segment.begin, i)];
        const u32 old = part_of(record, 0);
        const u32 now = only_propose ? old
                                     : judge_by_counts(record, i, key, of_unit, tables.inverse + row,
                                                       tables.totals + row, pass);
        move_token(tables.moved + row, old, now);
        fresh[segment.begin - base + i] = static_cast<u16>(now);
    }
    close_tables(pass, cached, tables);
}

extern "C" __global__ void __launch_bounds__(256)
    gibbs_propose_long(RADFAST_PASS, const i32* units, const i32* firsts, const u16* fresh) {
    const i32 cached = 0;
    RADFAST_OPEN;
    const Segment segment = open_segment(start, units, firsts);
    const u16* of_unit = fresh + (segment.begin - base);
    const Key key = pass.proposing(segment.unit);
    const u32 share = share_of_copies(segment.n, pass.prior);
    for (u32 i = segment.first + threadIdx.x; i < segment.last; i += blockDim.x) {
        records[pass.slot(segment.begin, i)] =
            propose(of_unit[i], i, segment.n, share, key, pass,
                    [&](u32 other) { return static_cast<u32>(of_unit[other]); });
    }
}

// Between passes: totals take their changes, and are inverted. One thread per entry.
extern "C" __global__ void gibbs_settle_totals(i32* totals, i32* moved, float* inverse, i32 entries,
                                               float smoothing) {
    const i32 k = static_cast<i32>(blockIdx.x * blockDim.x + threadIdx.x);
    if (k >= entries) return;
    const i32 total = totals[k] + moved[k];
    totals[k] = total;
    moved[k] = 0;
    inverse[k] = invert_total(total, smoothing);
}

// Topics into records and back; one thread per token.
extern "C" __global__ void gibbs_fill(const u32* position, const u16* topics, u64* records, i64 n_tokens) {
    const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n_tokens) records[position[i]] = topics[i];
}

extern "C" __global__ void gibbs_read(const u32* position, const u64* records, u16* topics, i64 n_tokens) {
    const i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n_tokens) topics[i] = static_cast<u16>(part_of(records[position[i]], 0));
}
