// One unit (the tokens of a word or of a document) of a Metropolis-Hastings pass: see gibbs.h. Each of
// gibbs_portable.cpp, gibbs_avx2.cpp and gibbs_avx512.cpp includes this with RADFAST_ISA (a namespace),
// RADFAST_LANES and three operations of its own: gather() twice and scale(). Lanes are tokens, so their
// number changes no result.
#include <cstring>

#include "gibbs_pass.h"

namespace radfast::gibbs::RADFAST_ISA {

constexpr int kLanes = RADFAST_LANES;
constexpr int kProposals = 3;
static_assert(kLanes <= kPadding);

// Two words that name the random numbers of a unit in a pass.
struct Key {
    uint32_t a, b;
};

RADFAST_INLINE uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

RADFAST_INLINE Key name_stream(uint64_t seed, uint64_t sweep, uint64_t step, uint64_t unit) {
    uint64_t key = mix64(seed + 0x9E3779B97F4A7C15ull);
    key = mix64(key + (4 * sweep + step + 1) * 0x9E3779B97F4A7C15ull);
    key = mix64(key + (unit + 1) * 0x9E3779B97F4A7C15ull);
    return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

// 32 bits scrambled (constants of C. Wellons' hash prospector, "lowbias32").
RADFAST_INLINE U mix32(U x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

RADFAST_INLINE F to_float(U x) { return __builtin_convertvector(reinterpret_cast<I>(x), F); }

RADFAST_INLINE float choose(bool first, float a, float b) {
    const uint32_t mask = -static_cast<uint32_t>(first);
    uint32_t x, y;
    std::memcpy(&x, &a, sizeof x);
    std::memcpy(&y, &b, sizeof y);
    y ^= (x ^ y) & mask;
    std::memcpy(&b, &y, sizeof b);
    return b;
}

RADFAST_INLINE U all(uint32_t x) { return x - U{}; }

RADFAST_INLINE U places_from(uint32_t place) {
    U places{};
    for (int j = 0; j < kLanes; ++j) places[j] = place + j;
    return places;
}

RADFAST_INLINE U name_tokens(U places, Key key) { return mix32(places * 0x9E3779B1u + key.a) ^ key.b; }

// The halves of kLanes records: low has topic and proposal 1, high has proposals 2 and 3.
RADFAST_INLINE void load(const uint64_t* records, U& low, U& high) {
    U first, second;
    std::memcpy(&first, records, sizeof first);
    std::memcpy(&second, records + kLanes / 2, sizeof second);
    low = even_of(first, second);
    high = odd_of(first, second);
}

RADFAST_INLINE void store(uint64_t* records, U low, U high) {
    const U first = low_pairs(low, high), second = high_pairs(low, high);
    std::memcpy(records, &first, sizeof first);
    std::memcpy(records + kLanes / 2, &second, sizeof second);
}

template <bool kEven>
RADFAST_INLINE F concentration(const Bench& bench, U topic) {
    if constexpr (kEven) {
        return bench.prior->value - F{};
    } else {
        return gather(bench.prior->values, topic);
    }
}

template <bool kEven>
RADFAST_INLINE float concentration_of(const Bench& bench, uint32_t topic) {
    return kEven ? bench.prior->value : bench.prior->values[topic];
}

// Step 1 of gibbs.h for kLanes tokens from `place` on: writes their new topics.
template <bool kEven>
RADFAST_INLINE void judge(const uint64_t* records, uint32_t place, Key key, const Bench& bench) {
    U low, high;
    load(records, low, high);
    const U own = low & 0xFFFFu;
    const U proposals[kProposals] = {low >> 16, high & 0xFFFFu, high >> 16};
    const U token = name_tokens(places_from(place), key);
    // Counts hold the token itself at its own topic, and nowhere else.
    const F in_unit = to_float(gather(bench.counts, own) - 1u) + concentration<kEven>(bench, own);
    const F in_all = to_float(gather(bench.totals, own) - 1u) + bench.smoothing;
    const F mine = in_unit / in_all;
    U state = own;
    F now = mine;
    for (uint32_t q = 0; q < kProposals; ++q) {
        const U topic = proposals[q];
        const F other = (to_float(gather(bench.counts, topic)) + concentration<kEven>(bench, topic)) *
                        gather(bench.inverse, topic);
        const F there = topic == own ? mine : other;
        const F u = to_float(mix32(token + (q + 1) * 0x85EBCA6Bu) >> 8) * 0x1p-24f;
        const I go = u * now < there;
        state = go ? topic : state;
        now = go ? there : now;
    }
    std::memcpy(bench.fresh + place, &state, sizeof state);
}

// Step 2 of gibbs.h for kLanes tokens from `place` on: fills their records with topic and proposals.
template <bool kEven>
RADFAST_INLINE void propose(uint64_t* records, uint32_t place, uint32_t others, uint32_t from_others, Key key,
                            const Bench& bench) {
    const U places = places_from(place);
    const U token = name_tokens(places, key);
    U own, proposals[kProposals];
    std::memcpy(&own, bench.fresh + place, sizeof own);
    for (uint32_t q = 0; q < kProposals; ++q) {
        const I copies = mix32(token + (q + 1) * 0x85EBCA6Bu) < all(from_others);
        const U draw = mix32(token + (q + 1) * 0x9E3779B9u + 0x1B873593u);
        U other = scale(draw, copies ? all(others) : all(bench.n_topics));
        U any = other;
        if constexpr (!kEven) {
            // Lanes that copy hold a place instead of a topic, which the tables need not have.
            any = copies ? U{} : any;
            any = draw * bench.n_topics < gather(bench.prior->keep, any) ? any
                                                                         : gather(bench.prior->instead, any);
        }
        // A mask is -1 where true: the token itself is stepped over.
        other -= reinterpret_cast<U>(other >= places);
        other = copies ? other : U{};
        proposals[q] = copies ? gather(bench.fresh, other) : any;
    }
    store(records, own | (proposals[0] << 16), proposals[1] | (proposals[2] << 16));
}

// Step 1 for a unit of n <= kInOrder tokens, one after the other: each sees where those before it have gone.
// The topics stay in registers, and a count is the number of them that are equal.
template <bool kEven>
RADFAST_INLINE void judge_in_order(const uint64_t* records, uint32_t n, Key key, const Bench& bench) {
    float u[kProposals][kInOrder + kLanes];
    for (uint32_t i = 0; i < n; i += kLanes) {
        const U token = name_tokens(places_from(i), key);
        for (uint32_t q = 0; q < kProposals; ++q) {
            const F draw = to_float(mix32(token + (q + 1) * 0x85EBCA6Bu) >> 8) * 0x1p-24f;
            std::memcpy(u[q] + i, &draw, sizeof draw);
        }
    }
    alignas(64) uint16_t topics[kInOrder];
    std::memset(topics, 0xFF, sizeof topics);  // no topic has this number
    for (uint32_t i = 0; i < n; ++i) topics[i] = static_cast<uint16_t>(records[i]);
    Members members(topics);
    for (uint32_t i = 0; i < n; ++i) {
        const uint64_t record = records[i];
        const uint32_t own = static_cast<uint32_t>(record) & 0xFFFFu;
        const float in_unit =
            static_cast<float>(members.count_others(own, i)) + concentration_of<kEven>(bench, own);
        const float mine = in_unit / (static_cast<float>(bench.totals[own] - 1) + bench.smoothing);
        uint32_t topic[kProposals];
        float there[kProposals];
        for (uint32_t q = 0; q < kProposals; ++q) {
            topic[q] = static_cast<uint32_t>(record >> (16 * (q + 1))) & 0xFFFFu;
            const float count = static_cast<float>(members.count_others(topic[q], i));
            const float other = (count + concentration_of<kEven>(bench, topic[q])) * bench.inverse[topic[q]];
            // Masks, since a branch on chance is foretold wrong half of the time.
            there[q] = choose(topic[q] == own, mine, other);
        }
        // All that may be compared is compared at once; the chain is one of single bits.
        const float u1 = u[1][i], u2 = u[2][i];
        const uint32_t first = u[0][i] * mine < there[0];
        const uint32_t second_own = u1 * mine < there[1], second_first = u1 * there[0] < there[1];
        const uint32_t second = (first & second_first) | (~first & second_own);
        const uint32_t third_own = u2 * mine < there[2], third_first = u2 * there[0] < there[2],
                       third_second = u2 * there[1] < there[2];
        const uint32_t third =
            (second & third_second) | (~second & ((first & third_first) | (~first & third_own)));
        uint32_t state = own;
        state ^= (state ^ topic[0]) & -first;
        state ^= (state ^ topic[1]) & -second;
        state ^= (state ^ topic[2]) & -third;
        members.set(i, state);
        bench.fresh[i] = state;
    }
}

// Both steps for a unit of n > 0 tokens, in place; `only_propose` leaves the topics as they are.
template <bool kEven>
RADFAST_INLINE void work_unit(uint64_t* records, uint32_t n, Key judging, Key proposing, bool only_propose,
                              const Bench& bench) {
    alignas(64) uint64_t tail[kLanes] = {};
    const uint32_t whole = n - n % kLanes;
    std::memcpy(tail, records + whole, (n - whole) * sizeof *tail);
    if (only_propose) {
        for (uint32_t i = 0; i < n; ++i) bench.fresh[i] = static_cast<uint32_t>(records[i]) & 0xFFFFu;
    } else {
        if (n <= kInOrder) {
            judge_in_order<kEven>(records, n, judging, bench);
        } else {
            for (uint32_t i = 0; i < n; ++i) ++bench.counts[records[i] & 0xFFFFu];
            for (uint32_t i = 0; i < whole; i += kLanes) judge<kEven>(records + i, i, judging, bench);
            if (whole < n) judge<kEven>(tail, whole, judging, bench);
            for (uint32_t i = 0; i < n; ++i) bench.counts[records[i] & 0xFFFFu] = 0;
        }
        // Two tallies in turn: a count is often raised by one token after the other.
        for (uint32_t i = 0; i + 1 < n; i += 2) {
            ++bench.tally[bench.fresh[i]];
            ++bench.second_tally[bench.fresh[i + 1]];
        }
        if (n % 2) ++bench.tally[bench.fresh[n - 1]];
    }
    const uint32_t others = n - 1;
    const double share = others / (others + bench.prior->sum);
    const uint32_t from_others = static_cast<uint32_t>(share * 4294967295.0);
    for (uint32_t i = 0; i < whole; i += kLanes)
        propose<kEven>(records + i, i, others, from_others, proposing, bench);
    if (whole < n) {
        propose<kEven>(tail, whole, others, from_others, proposing, bench);
        std::memcpy(records + whole, tail, (n - whole) * sizeof *tail);
    }
}

RADFAST_INLINE Bench set_up(const Pass& pass, Scratch& scratch, int32_t group, const Prior* prior) {
    const int64_t row = static_cast<int64_t>(group) * pass.model->stride;
    return {scratch.counts,
            scratch.fresh,
            scratch.tally + row,
            scratch.second_tally + row,
            pass.inverse + row,
            pass.totals + row,
            prior,
            static_cast<float>(pass.model->smoothing),
            static_cast<uint32_t>(pass.model->n_topics)};
}

void work_words(const Pass& pass, int64_t first, int64_t last, Scratch& scratch) {
    for (int64_t w = first; w < last; ++w) {
        const int64_t begin = pass.row_start[w];
        const uint32_t n = static_cast<uint32_t>(pass.row_start[w + 1] - begin);
        if (n == 0) continue;
        const Bench bench = set_up(pass, scratch, pass.corpus->row_group[w], pass.eta);
        const Key judging = name_stream(pass.model->seed, pass.sweep, judge_word, w);
        const Key proposing = name_stream(pass.model->seed, pass.sweep, propose_word, w);
        work_unit<true>(pass.records + begin, n, judging, proposing, false, bench);
    }
}

void work_documents(const Pass& pass, int64_t first, int64_t last, Scratch& scratch) {
    const Corpus& corpus = *pass.corpus;
    uint64_t* local = scratch.records;
    const int64_t end = corpus.indptr[last];
    for (int64_t d = first; d < last; ++d) {
        const int64_t begin = corpus.indptr[d];
        const uint32_t n = static_cast<uint32_t>(corpus.indptr[d + 1] - begin);
        if (n == 0) continue;
        const uint32_t* position = pass.position + begin;
        // Records of a document lie apart, a cache line each: asked for long before they are needed.
        const int64_t left = end - begin - kPrefetch, ahead = left < n ? left : n;
        for (int64_t i = 0; i < ahead; ++i) __builtin_prefetch(pass.records + position[i + kPrefetch], 1);
        for (uint32_t i = 0; i < n; ++i) local[i] = pass.records[position[i]];
        const Bench bench = set_up(pass, scratch, corpus.document_group[d], pass.alpha);
        const Key judging = name_stream(pass.model->seed, pass.sweep, judge_document, d);
        // These proposals serve the sweep to come, and are named after it.
        const Key proposing = name_stream(pass.model->seed, pass.sweep + 1, propose_document, d);
        if (pass.alpha->values == nullptr) {
            work_unit<true>(local, n, judging, proposing, pass.only_propose, bench);
        } else {
            work_unit<false>(local, n, judging, proposing, pass.only_propose, bench);
        }
        for (uint32_t i = 0; i < n; ++i) pass.records[position[i]] = local[i];
    }
}

}  // namespace radfast::gibbs::RADFAST_ISA
