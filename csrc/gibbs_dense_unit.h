// Documents of a dense sweep: see gibbs_dense.h. Included like gibbs_unit.h, with two operations more:
// shift_lanes() and count_at_most().
#include "gibbs_dense.h"

namespace radfast::gibbs::RADFAST_ISA {

constexpr int kParts = kBlock / kLanes;  // vectors of a block

// Vectors at any float's address. Copies by memcpy would do the same, but may change anything in the eyes of
// the compiler, which then reads every member of a walker again.
typedef float LooseF __attribute__((vector_size(4 * kLanes), aligned(4)));
typedef int32_t LooseI __attribute__((vector_size(4 * kLanes), aligned(4)));

RADFAST_INLINE F load_floats(const float* from) { return *reinterpret_cast<const LooseF*>(from); }

RADFAST_INLINE void store_floats(float* to, F x) { *reinterpret_cast<LooseF*>(to) = x; }

RADFAST_INLINE F load_counts(const int32_t* from) {
    const I x = *reinterpret_cast<const LooseI*>(from);
    return __builtin_convertvector(x, F);
}

// All bits where the lane is that of `topic`.
RADFAST_INLINE I lane_of(uint32_t topic) {
    return reinterpret_cast<I>(places_from(0) == all(topic % kLanes));
}

RADFAST_INLINE F keep_where(I mask, F x) { return reinterpret_cast<F>(reinterpret_cast<I>(x) & mask); }

// Sums of the lanes up to each, in 4 steps of fixed order (Sklansky 1960) over the 16 lanes of a block.
template <int kWidth = kLanes>
RADFAST_INLINE void sum_lanes(F (&x)[kBlock / kWidth]) {
    for (F& part : x) part = sum_part(part);
    if constexpr (kWidth == 4) {
        x[1] += x[0][3] - F{};
        x[3] += x[2][3] - F{};
        const float half = x[1][3];
        x[2] += half - F{};
        x[3] += half - F{};
    } else if constexpr (kWidth == 8) {
        x[1] += x[0][7] - F{};
    }
}

// One document on its way. kBlocks is the number of blocks, 0 if it is known at run time only.
template <int kBlocks>
class Walker {
  public:
    Walker(const DensePass& pass, const DenseScratch& scratch, int index, const Feed& feed)
        : pass_(pass),
          feed_(feed),
          corpus_(*pass.corpus),
          stride_(pass.model->stride),
          counts_(scratch.counts + static_cast<int64_t>(index) * stride_),
          weights_(scratch.weights + static_cast<int64_t>(index) * stride_),
          sums_(scratch.sums + static_cast<int64_t>(index) * stride_),
          eta_(static_cast<float>(pass.model->eta)),
          document_(-1) {
        next();
    }

    bool live() const { return live_; }

    RADFAST_INLINE void step() {
        const uint32_t old = pass_.joining ? 0 : pass_.topics[token_];
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(corpus_.rows[token_]) * stride_;
        ask_for(token_ + kAhead);
        const float own = pass_.joining ? 0.0f : take_out(old) * factor(n_w, old, !pass_.joining);

        F sum[kParts] = {};
        const int blocks = kBlocks > 0 ? kBlocks : stride_ / kBlock;
#pragma GCC unroll 8
        for (int b = 0; b < blocks; ++b) {
            for (int part = 0; part < kParts; ++part) {
                const int k = b * kBlock + part * kLanes;
                const F word = load_counts(n_w + k) + eta_;
                sum[part] += load_floats(weights_ + k) * word * load_floats(inverse_ + k);
                store_floats(sums_ + k, sum[part]);
            }
        }
        sum_lanes(sum);
        // Behind a zero, so that the sum before lane 0 can be read; each half is a line of the cache.
        alignas(64) float upto[2 * kBlock];
        upto[kBlock - 1] = 0;
        for (int part = 0; part < kParts; ++part) store_floats(upto + kBlock + part * kLanes, sum[part]);
        const float stay = sum[kParts - 1][kLanes - 1] + own;

        // From here on the topic of the token before must be known.
        const float follow = before_weighs_ * factor(n_w, before_, !pass_.joining & (before_ == old));
        const float goal = draw() * (stay + follow);
        uint32_t lane = 0;
        for (int part = 0; part < kParts; ++part) lane += count_at_most(sum[part], goal);
        const uint32_t found = lane & (kBlock - 1);
        const uint32_t block = find_block(sums_ + found, goal - upto[kBlock - 1 + lane], blocks);
        // Masks, since a branch on chance is foretold wrong half of the time. Rounding may carry the number
        // past the last block of a lane: then the token stays.
        const uint32_t goes =
            -static_cast<uint32_t>((lane < kBlock) & (block < static_cast<uint32_t>(blocks)));
        const uint32_t follows = -static_cast<uint32_t>(goal >= stay);
        uint32_t now = old ^ ((old ^ (block * kBlock + found)) & goes);
        now ^= (now ^ before_) & follows;
        pass_.fresh[token_ - pass_.begin] = static_cast<uint16_t>(now);

        if (!pass_.joining) refresh(old);
        put_in(before_, before_weighs_);
        before_ = now;
        before_weighs_ = 1;
        if (++token_ == end_) next();
    }

  private:
    static constexpr int64_t kAhead = 3;  // tokens that the rows of words are asked for in advance

    RADFAST_INLINE void ask_for(int64_t token) const {
        if (token >= corpus_.n_tokens) return;
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(corpus_.rows[token]) * stride_;
        const int columns = kBlocks > 0 ? kBlocks * kBlock : stride_;
        for (int k = 0; k < columns; k += kBlock) __builtin_prefetch(n_w + k);
    }

    // (n_wk + eta) / (n_k + V eta); where `own`, the token itself is taken out of both.
    RADFAST_INLINE float factor(const int32_t* n_w, uint32_t k, bool own) const {
        const float* inverse = own ? inverse_less_ : inverse_;
        return (static_cast<float>(n_w[k] - own) + eta_) * inverse[k];
    }

    // Takes the token's own count out and its topic out of the weights; returns what the topic would weigh.
    RADFAST_INLINE float take_out(uint32_t old) {
        const uint32_t at = old - old % kLanes;
        const I mask = lane_of(old);
        const F counts = load_floats(counts_ + at) - keep_where(mask, F{} + 1.0f);
        store_floats(counts_ + at, counts);
        // From the counts, not from the weights: the store is a whole one, which the loads to come can pass
        // on.
        store_floats(weights_ + at, keep_where(~mask, counts + load_floats(pass_.alpha + at)));
        return counts_[old] + pass_.alpha[old];
    }

    RADFAST_INLINE void refresh(uint32_t topic) {
        const uint32_t at = topic - topic % kLanes;
        store_floats(weights_ + at, load_floats(counts_ + at) + load_floats(pass_.alpha + at));
    }

    RADFAST_INLINE void put_in(uint32_t topic, float count) {
        const uint32_t at = topic - topic % kLanes;
        const F counts = load_floats(counts_ + at) + keep_where(lane_of(topic), F{} + count);
        store_floats(counts_ + at, counts);
        store_floats(weights_ + at, counts + load_floats(pass_.alpha + at));
    }

    // Uniform on [0, 1), 24 bits.
    RADFAST_INLINE float draw() {
        key_ += 0x9E3779B97F4A7C15ull;
        return static_cast<float>(mix64(key_) >> 40) * 0x1p-24f;
    }

    // The first block whose running sum in the lane is above `goal`, or the number of blocks.
    static RADFAST_INLINE uint32_t find_block(const float* sums, float goal, int blocks) {
        if constexpr (kBlocks > 0) {
            uint32_t block = 0;
#pragma GCC unroll 8
            for (int b = 0; b < kBlocks; ++b) block += sums[b * kBlock] <= goal;
            return block;
        }
        uint32_t low = 0;
        for (uint32_t left = blocks; left > 0;) {
            const uint32_t half = (left + 1) / 2;
            const bool past = sums[(low + half - 1) * kBlock] <= goal;
            low += past ? half : 0;
            left = past ? left - half : half - 1;
        }
        return low;
    }

    // Goes to the next document that has tokens.
    void next() {
        do {
            if (++document_ == last_) {
                // Variables of their own: members whose address is known stay in memory.
                Chunk chunk;
                live_ = feed_.take(chunk);
                if (!live_) return;
                document_ = chunk.first;
                last_ = chunk.last;
            }
            token_ = corpus_.indptr[document_];
            end_ = corpus_.indptr[document_ + 1];
        } while (token_ == end_);
        std::memset(counts_, 0, stride_ * sizeof *counts_);
        before_ = 0;
        before_weighs_ = 0;
        if (!pass_.joining) {
            for (int64_t i = token_; i < end_; ++i) counts_[pass_.topics[i]] += 1.0f;
        }
        for (int k = 0; k < stride_; k += kLanes)
            store_floats(weights_ + k, load_floats(counts_ + k) + load_floats(pass_.alpha + k));
        const int64_t group = static_cast<int64_t>(corpus_.document_group[document_]) * stride_;
        inverse_ = pass_.inverse + group;
        inverse_less_ = pass_.inverse_less + group;
        const Step step = pass_.joining ? join_document : sample_dense_document;
        const Key key = name_stream(pass_.model->seed, pass_.sweep, step, document_);
        key_ = key.a | static_cast<uint64_t>(key.b) << 32;
    }

    // Copies: what stands in the walker is one load away.
    const DensePass pass_;
    const Feed& feed_;
    const Corpus corpus_;
    const int stride_;
    float *counts_, *weights_, *sums_;
    const float eta_;
    const float *inverse_ = nullptr, *inverse_less_ = nullptr;
    int64_t document_, last_ = 0, token_ = 0, end_ = 0;
    bool live_ = true;
    uint64_t key_ = 0;
    uint32_t before_ = 0;  // new topic of the token before, which is in no count yet
    float before_weighs_ = 0;
};

template <int kBlocks>
void walk(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    Walker<kBlocks> a(pass, scratch, 0, feed), b(pass, scratch, 1, feed);
    while (a.live() && b.live()) {
        a.step();
        b.step();
    }
    while (a.live()) a.step();
    while (b.live()) b.step();
}

void work_dense(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    switch (pass.model->stride / kBlock) {
        case 1:
            return walk<1>(pass, feed, scratch);
        case 2:
            return walk<2>(pass, feed, scratch);
        case 3:
            return walk<3>(pass, feed, scratch);
        case 4:
            return walk<4>(pass, feed, scratch);
        case 5:
            return walk<5>(pass, feed, scratch);
        case 6:
            return walk<6>(pass, feed, scratch);
        case 7:
            return walk<7>(pass, feed, scratch);
        case 8:
            return walk<8>(pass, feed, scratch);
        default:
            return walk<0>(pass, feed, scratch);
    }
}

}  // namespace radfast::gibbs::RADFAST_ISA
