// What the kernels of gibbs.cu do with one unit, the tokens of a word or of a document: gibbs.cu says how
// units are shared out, gibbs.cuh has the arithmetic of a token.
#pragma once

#include "gibbs.cuh"

namespace radfast::gibbs::device {

constexpr u32 kLanes = 32;
constexpr u32 kWholeWarp = 0xFFFFFFFFu;
constexpr u32 kBlock = 256;     // threads of a block
constexpr u32 kSegment = 8192;  // tokens of a block's share of a long unit

// One pass over units. Unit u owns the places start[u] .. start[u + 1] - 1; its i-th record is
// records[position[start[u] + i]], or records[start[u] - base + i] without positions.
struct Pass {
    const i64* start;
    const i32* group;
    const u32* position;
    u64* records;
    i64 base;
    const float* inverse;  // (G, stride) 1 / (n_k + V eta)
    const i32* totals;     // (G, stride) n_k
    i32* moved;            // (G, stride) changes of the totals
    i32 stride, entries;   // columns and size of the three tables
    i32 n_topics;
    Prior prior;
    float smoothing;
    u64 seed;
    i64 sweep;           // names the judging
    i64 next_sweep;      // names the proposals
    u32 judge, propose;  // Step
    i32 only_propose;

    __device__ u32 slot(i64 begin, u32 i) const {
        return position ? position[begin + i] : static_cast<u32>(begin - base + i);
    }
    __device__ Key judging(u32 unit) const { return name_stream(seed, sweep, judge, unit); }
    __device__ Key proposing(u32 unit) const { return name_stream(seed, next_sweep, propose, unit); }
};

// The tables of a pass: in shared memory where `cached`, at the front of the arena.
struct Tables {
    const float* inverse;
    const i32* totals;
    i32* moved;
    unsigned char* rest;  // of the arena
};

__device__ Tables open_tables(const Pass& pass, bool cached, unsigned char* arena) {
    if (!cached) return {pass.inverse, pass.totals, pass.moved, arena};
    float* inverse = reinterpret_cast<float*>(arena);
    i32* totals = reinterpret_cast<i32*>(inverse + pass.entries);
    i32* moved = totals + pass.entries;
    for (i32 k = threadIdx.x; k < pass.entries; k += blockDim.x) {
        inverse[k] = pass.inverse[k];
        totals[k] = pass.totals[k];
        moved[k] = 0;
    }
    return {inverse, totals, moved, reinterpret_cast<unsigned char*>(moved + pass.entries)};
}

__device__ void close_tables(const Pass& pass, bool cached, const Tables& tables) {
    if (!cached) return;
    __syncthreads();
    for (i32 k = threadIdx.x; k < pass.entries; k += blockDim.x) {
        if (tables.moved[k] != 0) atomicAdd(&pass.moved[k], tables.moved[k]);
    }
}

__device__ void move_token(i32* moved, u32 from, u32 to) {
    if (from == to) return;
    atomicAdd(&moved[from], -1);
    atomicAdd(&moved[to], 1);
}

// Judges the token `place` by counts that hold it at its own topic, and nowhere else.
__device__ u32 judge_by_counts(u64 record, u32 place, Key key, const i32* counts, const float* inverse,
                               const i32* totals, const Pass& pass) {
    const u32 own = part_of(record, 0), token = name_token(place, key);
    i32 without[1 + kProposals];
    float inverses[kProposals], acceptance[kProposals], prior[1 + kProposals];
    without[0] = counts[own] - 1;
    prior[0] = pass.prior.of(own);
#pragma unroll
    for (u32 q = 0; q < kProposals; ++q) {
        const u32 topic = part_of(record, q + 1);
        without[q + 1] = counts[topic];
        prior[q + 1] = pass.prior.of(topic);
        inverses[q] = inverse[topic];
        acceptance[q] = draw_acceptance(token, q);
    }
    return judge_token(record, without, prior, totals[own], inverses, acceptance, pass.smoothing);
}

// A record of topic `own` and 3 proposals; topic_at(i) is the new topic of the unit's i-th token.
template <typename TopicAt>
__device__ u64 propose(u32 own, u32 place, u32 n, u32 copies_share, Key key, const Pass& pass,
                       TopicAt topic_at) {
    const u32 token = name_token(place, key);
    u64 record = own;
#pragma unroll
    for (u32 q = 0; q < kProposals; ++q) {
        const Proposal drawn =
            draw_proposal(token, q, place, n, copies_share, static_cast<u32>(pass.n_topics), pass.prior);
        const u32 topic = drawn.copies ? topic_at(drawn.value) : drawn.value;
        record |= static_cast<u64>(topic) << (16 * (q + 1));
    }
    return record;
}

// Topics of a unit of n <= 32 tokens, one per lane, all judged at once. In a unit of up to kInOrder tokens
// the first that moves is right, and so are those before it; those after it see its move and judge again, so
// that each is judged in the order of the lanes, in as many rounds as there are moves.
__device__ u32 settle(u64 record, u32 lane, u32 n, Key key, const float* inverse, const i32* totals,
                      const Pass& pass) {
    u32 topics[1 + kProposals];
    i32 without[1 + kProposals] = {};
    float inverses[kProposals], acceptance[kProposals], prior[1 + kProposals];
    const u32 token = name_token(lane, key);
#pragma unroll
    for (u32 q = 0; q <= kProposals; ++q) {
        topics[q] = part_of(record, q);
        prior[q] = pass.prior.of(topics[q]);
    }
#pragma unroll
    for (u32 q = 0; q < kProposals; ++q) {
        inverses[q] = inverse[topics[q + 1]];
        acceptance[q] = draw_acceptance(token, q);
    }
    for (u32 i = 0; i < n; ++i) {
        const u32 other = __shfl_sync(kWholeWarp, topics[0], i);
#pragma unroll
        for (u32 q = 0; q <= kProposals; ++q) without[q] += i != lane && topics[q] == other;
    }
    const i32 own_total = totals[topics[0]];
    u32 state = topics[0];
    for (u32 first = 0; first < n;) {
        const u32 wanted =
            judge_token(record, without, prior, own_total, inverses, acceptance, pass.smoothing);
        if (n > kInOrder) return wanted;
        const u32 movers = __ballot_sync(kWholeWarp, lane >= first && lane < n && wanted != topics[0]);
        if (movers == 0) break;
        const u32 mover = __ffs(static_cast<i32>(movers)) - 1;
        const u32 from = __shfl_sync(kWholeWarp, topics[0], mover),
                  to = __shfl_sync(kWholeWarp, wanted, mover);
        if (lane == mover) state = to;
#pragma unroll
        for (u32 q = 0; q <= kProposals; ++q) without[q] += (topics[q] == to) - (topics[q] == from);
        first = mover + 1;
    }
    return state;
}

__device__ void sync_unit(u32 threads) {
    if (threads == kLanes) {
        __syncwarp();
    } else {
        __syncthreads();
    }
}

// Units of up to kThreads * kHeld tokens, each by kThreads threads. `counts` (stride,) is all 0 between
// units, `fresh` (kThreads * kHeld,) takes the new topics; both belong to the kThreads threads.
template <u32 kThreads, u32 kHeld>
__device__ void work_held(const Pass& pass, const Tables& tables, const i32* units, i32 n_units, i32* counts,
                          u16* fresh) {
    const u32 lane = threadIdx.x % kThreads;
    const i32 team = (blockIdx.x * blockDim.x + threadIdx.x) / kThreads,
              teams = gridDim.x * blockDim.x / kThreads;
    for (i32 at = team; at < n_units; at += teams) {
        const u32 unit = units[at];
        const i64 begin = pass.start[unit];
        const u32 n = static_cast<u32>(pass.start[unit + 1] - begin);
        const i64 row = static_cast<i64>(pass.group[unit]) * pass.stride;
        u64 held[kHeld];
        u32 slots[kHeld];
#pragma unroll
        for (u32 r = 0; r < kHeld; ++r) {
            const u32 i = lane + r * kThreads;
            if (i < n) {
                slots[r] = pass.slot(begin, i);
                held[r] = pass.records[slots[r]];
            }
        }
#pragma unroll
        for (u32 r = 0; r < kHeld; ++r) {
            if (lane + r * kThreads < n && !pass.only_propose) atomicAdd(&counts[part_of(held[r], 0)], 1);
        }
        sync_unit(kThreads);
        const Key judging = pass.judging(unit), proposing = pass.proposing(unit);
#pragma unroll
        for (u32 r = 0; r < kHeld; ++r) {
            const u32 i = lane + r * kThreads;
            if (i < n) {
                fresh[i] = static_cast<u16>(pass.only_propose ? part_of(held[r], 0)
                                                              : judge_by_counts(held[r], i, judging, counts,
                                                                                tables.inverse + row,
                                                                                tables.totals + row, pass));
            }
        }
        sync_unit(kThreads);
        const u32 share = share_of_copies(n, pass.prior);
#pragma unroll
        for (u32 r = 0; r < kHeld; ++r) {
            const u32 i = lane + r * kThreads;
            if (i < n) {
                const u32 old = part_of(held[r], 0), now = fresh[i];
                counts[old] = 0;
                move_token(tables.moved + row, old, now);
                pass.records[slots[r]] = propose(now, i, n, share, proposing, pass,
                                                 [&](u32 other) { return static_cast<u32>(fresh[other]); });
            }
        }
        sync_unit(kThreads);
    }
}

// Units of up to 32 tokens, a warp each.
__device__ void work_short(const Pass& pass, const Tables& tables, const i32* units, i32 n_units) {
    const u32 lane = threadIdx.x % kLanes;
    const i32 team = (blockIdx.x * blockDim.x + threadIdx.x) / kLanes,
              teams = gridDim.x * blockDim.x / kLanes;
    for (i32 at = team; at < n_units; at += teams) {
        const u32 unit = units[at];
        const i64 begin = pass.start[unit];
        const u32 n = static_cast<u32>(pass.start[unit + 1] - begin);
        const i64 row = static_cast<i64>(pass.group[unit]) * pass.stride;
        const bool here = lane < n;
        const u32 slot = here ? pass.slot(begin, lane) : 0;
        const u64 record = here ? pass.records[slot] : 0;
        const u32 now = pass.only_propose ? part_of(record, 0)
                                          : settle(record, lane, n, pass.judging(unit), tables.inverse + row,
                                                   tables.totals + row, pass);
        const u32 share = share_of_copies(n, pass.prior);
        const u32 token = name_token(lane, pass.proposing(unit));
        u64 fresh = now;
#pragma unroll
        for (u32 q = 0; q < kProposals; ++q) {
            const Proposal drawn =
                draw_proposal(token, q, lane, n, share, static_cast<u32>(pass.n_topics), pass.prior);
            const u32 copied = __shfl_sync(kWholeWarp, now, drawn.copies ? drawn.value % kLanes : 0);
            fresh |= static_cast<u64>(drawn.copies ? copied : drawn.value) << (16 * (q + 1));
        }
        if (here) {
            move_token(tables.moved + row, part_of(record, 0), now);
            pass.records[slot] = fresh;
        }
    }
}

// A block's share of a long unit: tokens first .. last - 1 of unit `unit`, whose counts are row `row` of the
// batch.
struct Segment {
    u32 unit, first, last, n;
    i64 begin;
};

__device__ Segment open_segment(const i64* start, const i32* units, const i32* firsts) {
    const u32 unit = units[blockIdx.x], first = firsts[blockIdx.x];
    const u32 n = static_cast<u32>(start[unit + 1] - start[unit]);
    return {unit, first, n - first < kSegment ? n : first + kSegment, n, start[unit]};
}

}  // namespace radfast::gibbs::device
