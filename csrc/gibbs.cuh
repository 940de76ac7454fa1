// Arithmetic of one token in the Metropolis-Hastings passes of the `gibbs` kernel (gibbs.h has the method):
// the same on the GPU and, for the tests, on the host. Every operation is exact integer, single IEEE float32
// or IEEE float64, in the order of gibbs_unit.h, so that the GPU gives the bits that the CPU gives.
//
// A token's record is 8 bytes: topic, then its 3 proposals, 16 bits each.
#pragma once

#include "on_device.cuh"

namespace radfast::gibbs::device {

constexpr u32 kProposals = 3;
constexpr u32 kInOrder = 8;  // units up to this length are judged token after token

// Which of a unit's four streams of random numbers in a sweep.
enum Step : u32 { judge_word = 0, propose_word = 1, judge_document = 2, propose_document = 3 };

// Two words that name the random numbers of a unit in a pass.
struct Key {
    u32 a, b;
};

RADFAST_BOTH u64 mix64(u64 x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

RADFAST_BOTH Key name_stream(u64 seed, u64 sweep, u32 step, u64 unit) {
    u64 key = mix64(seed + 0x9E3779B97F4A7C15ull);
    key = mix64(key + (4 * sweep + step + 1) * 0x9E3779B97F4A7C15ull);
    key = mix64(key + (unit + 1) * 0x9E3779B97F4A7C15ull);
    return {static_cast<u32>(key), static_cast<u32>(key >> 32)};
}

RADFAST_BOTH u32 mix32(u32 x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

// Names the random numbers of the token at `place` of its unit.
RADFAST_BOTH u32 name_token(u32 place, Key key) { return mix32(place * 0x9E3779B1u + key.a) ^ key.b; }

// The high word of the product: `random` brought below `bound`.
RADFAST_BOTH u32 scale(u32 random, u32 bound) {
    return static_cast<u32>((static_cast<u64>(random) * bound) >> 32);
}

// Topic (0) or proposal (1 to 3) of a record.
RADFAST_BOTH u32 part_of(u64 record, u32 part) { return static_cast<u32>(record >> (16 * part)) & 0xFFFFu; }

// 1 / (n_k + V eta), which the judging of every proposal multiplies by.
RADFAST_BOTH float invert_total(i32 total, float smoothing) {
    return 1.0f / (static_cast<float>(total) + smoothing);
}

// Uniform on [0, 1), 24 bits: accepts or refuses proposal `q` (0 to 2).
RADFAST_BOTH float draw_acceptance(u32 token, u32 q) {
    return static_cast<float>(mix32(token + (q + 1) * 0x85EBCA6Bu) >> 8) * 0x1p-24f;
}

// Concentrations a_k of a kind of unit (gibbs_pass.h has the same): one number, or where `values` is not null
// one per topic, drawn from by an alias table.
struct Prior {
    float value;
    double sum;
    const float* values;  // (K,)
    const u32* keep;      // (K,)
    const u32* instead;   // (K,)

    RADFAST_BOTH float of(u32 topic) const { return values ? values[topic] : value; }
};

// New topic of a token that runs through its proposals: step 1 of gibbs.h. `without` are the counts of the
// topics in its record, in the unit without this token, `prior` their a_k; `own_total` is n_k of its topic,
// itself included; `inverse` and `acceptance` belong to the proposals.
RADFAST_BOTH u32 judge_token(u64 record, const i32 (&without)[1 + kProposals],
                             const float (&prior)[1 + kProposals], i32 own_total,
                             const float (&inverse)[kProposals], const float (&acceptance)[kProposals],
                             float smoothing) {
    const u32 own = part_of(record, 0);
    const float in_unit = static_cast<float>(without[0]) + prior[0];
    const float mine = in_unit / (static_cast<float>(own_total - 1) + smoothing);
    u32 state = own;
    float now = mine;
#pragma unroll
    for (u32 q = 0; q < kProposals; ++q) {
        const u32 topic = part_of(record, q + 1);
        const float other = (static_cast<float>(without[q + 1]) + prior[q + 1]) * inverse[q];
        const float there = topic == own ? mine : other;
        const bool go = acceptance[q] * now < there;
        state = go ? topic : state;
        now = go ? there : now;
    }
    return state;
}

// Share of proposals that copy the topic of another token, of 2^32, in a unit of n tokens.
RADFAST_BOTH u32 share_of_copies(u32 n, const Prior& prior) {
    const u32 others = n - 1;
    const double share = others / (others + prior.sum);
    return static_cast<u32>(share * 4294967295.0);
}

// Proposal `q` of the token at `place`: step 2 of gibbs.h.
struct Proposal {
    bool copies;  // the topic of the token at place `value`, else the topic `value`
    u32 value;
};

RADFAST_BOTH Proposal draw_proposal(u32 token, u32 q, u32 place, u32 n, u32 copies_share, u32 n_topics,
                                    const Prior& prior) {
    const bool copies = mix32(token + (q + 1) * 0x85EBCA6Bu) < copies_share;
    const u32 draw = mix32(token + (q + 1) * 0x9E3779B9u + 0x1B873593u);
    u32 value = scale(draw, copies ? n - 1 : n_topics);
    if (copies) {
        value += value >= place;  // the token itself is stepped over
    } else if (prior.values && draw * n_topics >= prior.keep[value]) {
        value = prior.instead[value];
    }
    return {copies, value};
}

}  // namespace radfast::gibbs::device
