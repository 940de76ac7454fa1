// Documents of a fold-in: see gibbs_fold.h. gibbs_fold.cpp includes this once for each instruction set, with
// RADFAST_ISA (a namespace) and RADFAST_LANES. No templates of the library here: the linker could take the
// instance made for another instruction set.

namespace radfast::gibbs::fold::RADFAST_ISA {

constexpr int kLanes = RADFAST_LANES;
constexpr int kParts = kBlock / kLanes;  // vectors of a block

typedef float F __attribute__((vector_size(4 * RADFAST_LANES)));

RADFAST_INLINE F load(const float* from) {
    F x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

RADFAST_INLINE void store(float* to, F x) { std::memcpy(to, &x, sizeof x); }

RADFAST_INLINE F at_least_zero(F x) { return x > F{} ? x : F{}; }

// Lanes 8 apart are added first, then 4, 2 and 1 apart.
RADFAST_INLINE float sum_lanes(const F (&x)[kParts]) {
#if RADFAST_LANES == 16
    F y = x[0] + __builtin_shufflevector(x[0], x[0], 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    y += __builtin_shufflevector(y, y, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
#elif RADFAST_LANES == 8
    F y = x[0] + x[1];
    y += __builtin_shufflevector(y, y, 4, 5, 6, 7, 0, 1, 2, 3);
#else
    const F y = (x[0] + x[2]) + (x[1] + x[3]);
#endif
    return (y[0] + y[2]) + (y[1] + y[3]);
}

// What a word of the bag is refreshed in: all topics, or the few that move.
struct Field {
    int blocks;
    const float* alpha;
    float* counts;
    float* weights;
};

// Takes the share of a word anew. In the first round the old share is `word` times `inverse`; `rest` is the
// weight of topics that are not in the field. Returns the change; `total` becomes the weight of all topics.
template <bool kFirst>
RADFAST_INLINE float refresh(const Field& field, const float* word, float* share, float tokens, float inverse,
                             float rest, float& total) {
    // Two running sums, so that one addition need not wait for the one before.
    F even[kParts] = {}, odd[kParts] = {};
    const auto weigh = [&](int k, F& sum) __attribute__((always_inline)) {
        const F phi = load(word + k);
        const F old = kFirst ? phi * inverse : load(share + k);
        const F weight = (at_least_zero(load(field.counts + k) - old) + load(field.alpha + k)) * phi;
        store(field.weights + k, weight);
        sum += weight;
    };
    const int size = field.blocks * kBlock;
    int k = 0;
    for (; k + kBlock < size; k += 2 * kBlock) {
        for (int part = 0; part < kParts; ++part) weigh(k + part * kLanes, even[part]);
        for (int part = 0; part < kParts; ++part) weigh(k + kBlock + part * kLanes, odd[part]);
    }
    if (k < size) {
        for (int part = 0; part < kParts; ++part) weigh(k + part * kLanes, even[part]);
    }
    for (int part = 0; part < kParts; ++part) even[part] += odd[part];
    total = sum_lanes(even) + rest;
    const float scale = 1.0f / total;
    F change[kParts] = {};
    for (k = 0; k < size; k += kBlock) {
        for (int part = 0; part < kParts; ++part) {
            const int i = k + part * kLanes;
            const F old = kFirst ? load(word + i) * inverse : load(share + i);
            const F now = load(field.weights + i) * scale, moved = now - old;
            change[part] += moved > F{} ? moved : -moved;
            store(field.counts + i, load(field.counts + i) + moved * tokens);
            store(share + i, now);
        }
    }
    return sum_lanes(change) * tokens;
}

template <bool kFirst>
float go_round(const Field& field, const Bag& bag, const Scratch& scratch) {
    float change = 0;
    for (int64_t i = 0; i < bag.n_words; ++i) {
        change += refresh<kFirst>(field, bag.phi[i], scratch.shares + i * bag.stride, bag.tokens[i],
                                  kFirst ? bag.inverse[i] : 0.0f, 0.0f, scratch.totals[i]);
    }
    return change;
}

// Rounds over the `n_moving` topics that move; returns how many.
int64_t settle(const Bag& bag, const Scratch& scratch, int n_moving, float limit, int64_t most) {
    const int blocks = (n_moving + kBlock - 1) / kBlock, stride = blocks * kBlock;
    const Field field{blocks, scratch.few_alpha, scratch.few_counts, scratch.weights};
    for (int j = 0; j < stride; ++j) {
        const bool there = j < n_moving;
        const int32_t k = scratch.moving[there ? j : 0];
        scratch.few_alpha[j] = there ? bag.alpha[k] : 0.0f;
        scratch.few_counts[j] = there ? scratch.counts[k] : 0.0f;
    }
    for (int64_t i = 0; i < bag.n_words; ++i) {
        const float *word = bag.phi[i], *share = scratch.shares + i * bag.stride;
        float *few_word = scratch.few_phi + i * stride, *few_share = scratch.few_shares + i * stride;
        float taken = 0;
        for (int j = 0; j < n_moving; ++j) {
            const int32_t k = scratch.moving[j];
            few_word[j] = word[k];
            few_share[j] = share[k];
            taken += share[k];
        }
        for (int j = n_moving; j < stride; ++j) few_word[j] = few_share[j] = 0;
        scratch.totals[i] *= taken < 1.0f ? 1.0f - taken : 0.0f;
    }
    int64_t n = 0;
    float change = limit;
    for (; n < most && change >= limit; ++n) {
        change = 0;
        for (int64_t i = 0; i < bag.n_words; ++i) {
            float total;
            change += refresh<false>(field, scratch.few_phi + i * stride, scratch.few_shares + i * stride,
                                     bag.tokens[i], 0.0f, scratch.totals[i], total);
        }
    }
    for (int j = 0; j < n_moving; ++j) scratch.counts[scratch.moving[j]] = scratch.few_counts[j];
    for (int64_t i = 0; i < bag.n_words; ++i) {
        for (int j = 0; j < n_moving; ++j) {
            scratch.shares[i * bag.stride + scratch.moving[j]] = scratch.few_shares[i * stride + j];
        }
    }
    return n;
}

// Leaves c in scratch.counts.
void work(const Bag& bag, const Scratch& scratch, int64_t n_iterations, float tolerance) {
    const int stride = bag.stride;
    std::memset(scratch.counts, 0, sizeof(float) * stride);
    for (int64_t i = 0; i < bag.n_words; ++i) {
        const float scale = bag.inverse[i] * bag.tokens[i];
        for (int k = 0; k < stride; k += kLanes) {
            store(scratch.counts + k, load(scratch.counts + k) + load(bag.phi[i] + k) * scale);
        }
    }
    if (bag.n_words == 0 || n_iterations < 1) return;
    const Field field{stride / kBlock, bag.alpha, scratch.counts, scratch.weights};
    const float limit = tolerance * bag.n_tokens;
    const bool few = stride >= kManyTopics;
    float change = go_round<true>(field, bag, scratch);
    for (int64_t step = 1; step < n_iterations && change >= limit; ++step) {
        int n_moving = 0;
        for (int k = 0; k < stride; ++k) {
            scratch.moving[n_moving] = k;
            n_moving += scratch.counts[k] >= kLeast;
        }
        // The last round is one over all topics.
        if (few && n_moving > 0 && n_moving <= stride / kFew && step < n_iterations - 1) {
            step += settle(bag, scratch, n_moving, kLoose * limit, n_iterations - 1 - step);
        }
        change = go_round<false>(field, bag, scratch);
    }
    // The differences added so far carry their rounding.
    std::memset(scratch.counts, 0, sizeof(float) * stride);
    for (int64_t i = 0; i < bag.n_words; ++i) {
        const float *share = scratch.shares + i * stride, tokens = bag.tokens[i];
        for (int k = 0; k < stride; k += kLanes) {
            store(scratch.counts + k, load(scratch.counts + k) + load(share + k) * tokens);
        }
    }
}

}  // namespace radfast::gibbs::fold::RADFAST_ISA
