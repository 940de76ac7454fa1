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

// Where one walker writes the tokens that move.
class MoveWriter {
  public:
    MoveWriter(MovePool& pool, int64_t writer) : pool_(pool), ends_(pool.ends(writer)), parts_(pool.parts()) {
        for (uint32_t part = 0; part < parts_; ++part) ends_[part] = nullptr;
    }
    MoveWriter(const MoveWriter&) = delete;
    MoveWriter& operator=(const MoveWriter&) = delete;

    ~MoveWriter() {
        for (uint32_t part = 0; part < parts_; ++part) close(ends_[part]);
        for (; n_stock_ > 0; --n_stock_) stock_++->part = MoveBlock::kNoPart;
    }

    // Written in any case and kept if `moved`: a branch on chance is foretold wrong half of the time.
    RADFAST_INLINE void write(int32_t row, uint32_t old, uint32_t now, bool moved) {
        const uint32_t part = part_of(row, parts_);
        Move* end = ends_[part];
        if (reinterpret_cast<uintptr_t>(end) % sizeof(MoveBlock) == 0) {  // none yet, or a full block
            close(end);
            end = open(part);
        }
        *end = {row, static_cast<uint16_t>(old), static_cast<uint16_t>(now)};
        ends_[part] = end + moved;
    }

  private:
    Move* open(uint32_t part) {
        if (n_stock_ == 0) {
            stock_ = pool_.take_stock();
            n_stock_ = MovePool::kStock;
            ask_to_write(stock_);
        }
        if (--n_stock_ > 0) ask_to_write(stock_ + 1);
        stock_->part = part;
        return stock_++->moves;
    }

    // Stores to a line that another core has read would hold up those behind them.
    static void ask_to_write(MoveBlock* block) {
        const char* lines = reinterpret_cast<const char*>(block);
        for (size_t i = 0; i < sizeof(MoveBlock); i += 64) __builtin_prefetch(lines + i, 1);
    }

    static void close(Move* end) {
        if (end == nullptr) return;
        const uintptr_t before = reinterpret_cast<uintptr_t>(end) - 1;
        MoveBlock* block = reinterpret_cast<MoveBlock*>(before - before % sizeof(MoveBlock));
        block->size = static_cast<uint32_t>(end - block->moves);
    }

    MovePool& pool_;
    Move** const ends_;
    const uint32_t parts_;
    uint32_t n_stock_ = 0;
    MoveBlock* stock_ = nullptr;
};

// What a walker weighs topics by. Where the number of blocks is known it stands in the walker itself, so that
// no address has to be read.
template <int kBlocks>
struct Desk {
    Desk(const DenseScratch&, int, int) {}
    alignas(64) float counts[kBlocks * kBlock];
    alignas(64) float weights[kBlocks * kBlock];
    alignas(64) float sums[kBlocks * kBlock];
};

template <>
struct Desk<0> {
    Desk(const DenseScratch& scratch, int index, int stride)
        : counts(scratch.counts + static_cast<int64_t>(index) * stride),
          weights(scratch.weights + static_cast<int64_t>(index) * stride),
          sums(scratch.sums + static_cast<int64_t>(index) * stride) {}
    float *const counts, *const weights, *const sums;
};

// One document on its way. kBlocks is the number of blocks, 0 if it is known at run time only.
template <int kBlocks, bool kJoining>
class Walker {
  public:
    Walker(const DensePass& pass, const DenseScratch& scratch, int index, const Feed& feed)
        : pass_(pass),
          feed_(feed),
          corpus_(*pass.corpus),
          stride_(kBlocks > 0 ? kBlocks * kBlock : pass.model->stride),
          desk_(scratch, index, stride_),
          eta_(static_cast<float>(pass.model->eta)),
          moves_(*pass.moves, scratch.writer + index),
          document_(-1) {
        next();
    }

    bool live() const { return live_; }

    // Sums of the token's weights.
    RADFAST_INLINE void weigh() {
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(corpus_.rows[token_]) * stride();
        ask_for(token_ + kAhead);
        F sum[kParts] = {};
        const int blocks = kBlocks > 0 ? kBlocks : stride_ / kBlock;
#pragma GCC unroll 8
        for (int b = 0; b < blocks; ++b) {
            for (int part = 0; part < kParts; ++part) {
                const int k = b * kBlock + part * kLanes;
                sum[part] += load_floats(desk_.weights + k) * (load_counts(n_w + k) + eta_);
                store_floats(desk_.sums + k, sum[part]);
            }
        }
        sum_lanes(sum);
        for (int part = 0; part < kParts; ++part) store_floats(upto_ + kBlock + part * kLanes, sum[part]);
        if constexpr (!kJoining) {
            own_ *= static_cast<float>(n_w[old_] - 1) + eta_;
        }
    }

    // Draws the token's topic by these sums, and goes on to the next token.
    RADFAST_INLINE void choose() {
        const float goal = draw() * (upto_[2 * kBlock - 1] + own_);
        uint32_t lane = 0;
        for (int part = 0; part < kParts; ++part) {
            lane += count_at_most(load_floats(upto_ + kBlock + part * kLanes), goal);
        }
        const uint32_t blocks = stride() / kBlock;
        const uint32_t found = lane & (kBlock - 1);
        const uint32_t block = find_block(desk_.sums + found, goal - upto_[kBlock - 1 + lane], blocks);
        // A mask, since a branch on chance is foretold wrong half of the time. Behind the lanes stands the
        // token's own topic; where rounding carries the number past the last block of a lane it stays, too.
        const uint32_t goes = -static_cast<uint32_t>((lane < kBlock) & (block < blocks));
        const uint32_t now = old_ ^ ((old_ ^ (block * kBlock + found)) & goes);
        pass_.topics[token_] = static_cast<uint16_t>(now);
        moves_.write(corpus_.rows[token_], old_, now, kJoining || now != old_);
        if constexpr (!kJoining) weigh_topic(old_);
        desk_.counts[now] += 1.0f;
        weigh_topic(now);
        if (++token_ == end_) {
            next();
        } else {
            take_out();
        }
    }

  private:
    static constexpr int64_t kAhead = 3;  // tokens that the rows of words are asked for in advance
    static constexpr int kDraws = 16;     // random numbers made at a time

    RADFAST_INLINE int stride() const { return kBlocks > 0 ? kBlocks * kBlock : stride_; }

    RADFAST_INLINE void ask_for(int64_t token) const {
        if (token >= corpus_.n_tokens) return;
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(corpus_.rows[token]) * stride();
        for (int k = 0; k < stride(); k += kBlock) __builtin_prefetch(n_w + k);
    }

    RADFAST_INLINE void weigh_topic(uint32_t k) {
        desk_.weights[k] = (desk_.counts[k] + pass_.alpha[k]) * inverse_[k];
    }

    // Takes the token's own count out and its topic out of the lanes; own_ is what the document gives it.
    RADFAST_INLINE void take_out() {
        if constexpr (kJoining) return;
        old_ = pass_.topics[token_];
        desk_.counts[old_] -= 1.0f;
        desk_.weights[old_] = 0;
        own_ = (desk_.counts[old_] + pass_.alpha[old_]) * inverse_less_[old_];
    }

    // Uniform on [0, 1), 24 bits.
    RADFAST_INLINE float draw() {
        const uint64_t place = token_ - begin_;
        if (place % kDraws == 0) {
            for (int j = 0; j < kDraws; j += kLanes) {
                const U places = places_from(static_cast<uint32_t>(place + j));
                store_floats(draws_ + j, to_float(mix32(name_tokens(places, key_)) >> 8) * 0x1p-24f);
            }
        }
        return draws_[place % kDraws];
    }

    // The first block whose running sum in the lane is above `goal`, or the number of blocks.
    static RADFAST_INLINE uint32_t find_block(const float* sums, float goal, uint32_t blocks) {
        if constexpr (kBlocks > 0) {
            // Neither is negative: their bits are in the same order.
            const uint32_t bound = __builtin_bit_cast(uint32_t, goal);
            uint32_t block = 0;
#pragma GCC unroll 8
            for (int b = 0; b < kBlocks; ++b) {
                block += __builtin_bit_cast(uint32_t, sums[b * kBlock]) <= bound;
            }
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
            token_ = begin_ = corpus_.indptr[document_];
            end_ = corpus_.indptr[document_ + 1];
        } while (token_ == end_);
        std::memset(desk_.counts, 0, stride() * sizeof(float));
        if constexpr (!kJoining) {
            for (int64_t i = token_; i < end_; ++i) desk_.counts[pass_.topics[i]] += 1.0f;
        }
        const int64_t group = static_cast<int64_t>(corpus_.document_group[document_]) * stride();
        inverse_ = pass_.inverse + group;
        inverse_less_ = pass_.inverse_less + group;
        for (int k = 0; k < stride(); k += kLanes) {
            const F counts = load_floats(desk_.counts + k) + load_floats(pass_.alpha + k);
            store_floats(desk_.weights + k, counts * load_floats(inverse_ + k));
        }
        const Step step = kJoining ? join_document : sample_dense_document;
        key_ = name_stream(pass_.model->seed, pass_.sweep, step, document_);
        take_out();
    }

    // Copies: what stands in the walker is one load away.
    const DensePass pass_;
    const Feed& feed_;
    const Corpus corpus_;
    const int stride_;
    Desk<kBlocks> desk_;
    const float eta_;
    MoveWriter moves_;
    const float *inverse_ = nullptr, *inverse_less_ = nullptr;
    int64_t document_, last_ = 0, token_ = 0, begin_ = 0, end_ = 0;
    bool live_ = true;
    uint32_t old_ = 0;  // the token's topic
    float own_ = 0;     // what it weighs without the token
    Key key_{};
    // Sums of lanes behind a zero, so that the sum before lane 0 can be read; each half is a line of the
    // cache.
    alignas(64) float upto_[2 * kBlock] = {};
    alignas(64) float draws_[kDraws];
};

template <int kBlocks, bool kJoining>
void walk(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    using One = Walker<kBlocks, kJoining>;
    One a(pass, scratch, 0, feed), b(pass, scratch, 1, feed);
    while (a.live() && b.live()) {
        a.weigh();
        b.weigh();
        a.choose();
        b.choose();
    }
    for (One* rest : {&a, &b}) {
        while (rest->live()) {
            rest->weigh();
            rest->choose();
        }
    }
}

template <int kBlocks>
void walk_blocks(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    if (pass.joining) return walk<kBlocks, true>(pass, feed, scratch);
    return walk<kBlocks, false>(pass, feed, scratch);
}

void work_dense(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    switch (pass.model->stride / kBlock) {
        case 1:
            return walk_blocks<1>(pass, feed, scratch);
        case 2:
            return walk_blocks<2>(pass, feed, scratch);
        case 3:
            return walk_blocks<3>(pass, feed, scratch);
        case 4:
            return walk_blocks<4>(pass, feed, scratch);
        case 5:
            return walk_blocks<5>(pass, feed, scratch);
        case 6:
            return walk_blocks<6>(pass, feed, scratch);
        case 7:
            return walk_blocks<7>(pass, feed, scratch);
        case 8:
            return walk_blocks<8>(pass, feed, scratch);
        default:
            return walk_blocks<0>(pass, feed, scratch);
    }
}

}  // namespace radfast::gibbs::RADFAST_ISA
