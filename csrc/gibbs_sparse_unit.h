// Documents of a sparse sweep: see gibbs_dense.h. Included after gibbs_dense_unit.h.
//
// The weight of a topic falls into n_dk phi_wk, which only topics of the document have, and alpha_k phi_wk,
// phi_wk = (n_wk + eta) / (n_k + V eta). The sum of the second over all topics is taken once per word and
// batch; only a token that draws from it looks at all topics.
#include "gibbs_dense.h"

namespace radfast::gibbs::RADFAST_ISA {

// The place of `goal` in sums of blocks of lanes (`sums`, and over all lanes `upto`), kNoPlace past the end.
constexpr uint32_t kNoPlace = 0xFFFFFFFFu;

RADFAST_INLINE uint32_t find_place(const float* sums, const F (&upto)[kParts], float goal, int blocks) {
    uint32_t lane = 0;
    for (int part = 0; part < kParts; ++part) lane += count_at_most(upto[part], goal);
    if (lane == kBlock) return kNoPlace;
    if (lane > 0) goal -= upto[(lane - 1) / kLanes][(lane - 1) % kLanes];
    uint32_t block = 0;
    while (block < static_cast<uint32_t>(blocks) && sums[block * kBlock + lane] <= goal) ++block;
    return block < static_cast<uint32_t>(blocks) ? block * kBlock + lane : kNoPlace;
}

RADFAST_INLINE float total_of(const F (&upto)[kParts]) { return upto[kParts - 1][kLanes - 1]; }

class SparseWalker {
  public:
    SparseWalker(const DensePass& pass, const DenseScratch& scratch)
        : pass_(pass),
          stride_(pass.model->stride),
          counts_(scratch.counts),
          topics_(scratch.list),
          place_(scratch.list + stride_),
          sums_(scratch.sums),
          moves_(*pass.moves, scratch.writer),
          eta_(static_cast<float>(pass.model->eta)) {}

    void walk(int64_t document) {
        const Corpus& corpus = *pass_.corpus;
        const int64_t begin = corpus.indptr[document], end = corpus.indptr[document + 1];
        if (begin == end) return;
        const int64_t group = static_cast<int64_t>(corpus.document_group[document]) * stride_;
        inverse_ = pass_.inverse + group;
        inverse_less_ = pass_.inverse_less + group;
        const Key key = name_stream(pass_.model->seed, pass_.sweep, sample_sparse_document, document);
        key_ = key.a | static_cast<uint64_t>(key.b) << 32;
        size_ = 0;
        std::memset(place_, 0, stride_ * sizeof *place_);
        std::memset(counts_, 0, stride_ * sizeof *counts_);
        for (int64_t i = begin; i < end; ++i) put_in(pass_.topics[i]);
        for (int64_t i = begin; i < end; ++i) {
            const uint32_t old = pass_.topics[i];
            if (i + 1 < end) ask_for(corpus.rows[i + 1], pass_.topics[i + 1]);
            take_out(old);
            const uint32_t now = sample(corpus.rows[i], old);
            put_in(now);
            pass_.topics[i] = static_cast<uint16_t>(now);
            moves_.write(corpus.rows[i], old, now, now != old);
        }
    }

  private:
    // Topics of the document stand in a list without gaps, with their counts; place_ is 1 + where a topic is.
    RADFAST_INLINE void put_in(uint32_t topic) {
        if (place_[topic] == 0) {
            topics_[size_] = topic;
            counts_[size_] = 0;
            place_[topic] = ++size_;
        }
        counts_[place_[topic] - 1] += 1.0f;
    }

    RADFAST_INLINE void take_out(uint32_t topic) {
        const uint32_t at = place_[topic] - 1;
        counts_[at] -= 1.0f;
        if (counts_[at] > 0) return;
        const uint32_t last = --size_;
        topics_[at] = topics_[last];
        counts_[at] = counts_[last];
        counts_[last] = 0;
        place_[topics_[at]] = at + 1;
        place_[topic] = 0;
    }

    // What sample() is to read of a row: it lies far apart in a table that no cache holds.
    RADFAST_INLINE void ask_for(int32_t row, uint32_t old) const {
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(row) * stride_;
        __builtin_prefetch(n_w + old);
        for (uint32_t j = 0; j < size_; ++j) __builtin_prefetch(n_w + topics_[j]);
    }

    RADFAST_INLINE float draw() {
        key_ += 0x9E3779B97F4A7C15ull;
        return static_cast<float>(mix64(key_) >> 40) * 0x1p-24f;
    }

    RADFAST_INLINE uint32_t sample(int32_t row, uint32_t old) {
        const int32_t* n_w = pass_.word_topic + static_cast<int64_t>(row) * stride_;
        const float without = (static_cast<float>(n_w[old] - 1) + eta_) * inverse_less_[old];
        const float with = (static_cast<float>(n_w[old]) + eta_) * inverse_[old];
        F sum[kParts] = {};
        const int blocks = static_cast<int>((size_ + kBlock - 1) / kBlock);
        for (int k = 0; k < blocks * kBlock; k += kLanes) {
            U topic;
            std::memcpy(&topic, topics_ + k, sizeof topic);
            // Entries behind the list are old ones; their counts are 0.
            const F word = __builtin_convertvector(reinterpret_cast<I>(gather(n_w, topic)), F) + eta_;
            const F phi = word * gather(inverse_, topic);
            const I own = reinterpret_cast<I>(topic == all(old));
            const int part = k / kLanes % kParts;
            sum[part] += load_floats(counts_ + k) * (own ? F{} + without : phi);
            store_floats(sums_ + k, sum[part]);
        }
        sum_lanes(sum);
        const float shared = total_of(sum);
        const float prior = pass_.prior[row] + pass_.alpha[old] * (without - with);
        const float goal = draw() * (shared + (prior > 0 ? prior : 0.0f));
        if (goal < shared) {
            const uint32_t at = find_place(sums_, sum, goal, blocks);
            return at == kNoPlace ? old : topics_[at];
        }
        return sample_prior(n_w, old, pass_.alpha[old] * without);
    }

    // Draws a topic by alpha_k phi_wk, the token itself taken out; its own topic stands behind the others.
    uint32_t sample_prior(const int32_t* n_w, uint32_t old, float own) {
        F sum[kParts] = {};
        for (int k = 0; k < stride_; k += kLanes) {
            const int part = k / kLanes % kParts;
            const F weight =
                load_floats(pass_.alpha + k) * ((load_counts(n_w + k) + eta_) * load_floats(inverse_ + k));
            const U topic = places_from(static_cast<uint32_t>(k));
            sum[part] += keep_where(reinterpret_cast<I>(topic != all(old)), weight);
            store_floats(sums_ + k, sum[part]);
        }
        sum_lanes(sum);
        const uint32_t at = find_place(sums_, sum, draw() * (total_of(sum) + own), stride_ / kBlock);
        return at == kNoPlace ? old : at;
    }

    const DensePass& pass_;
    const int stride_;
    float* counts_;
    uint32_t *topics_, *place_;
    float* sums_;
    MoveWriter moves_;
    const float eta_;
    const float *inverse_ = nullptr, *inverse_less_ = nullptr;
    uint32_t size_ = 0;
    uint64_t key_ = 0;
};

void work_sparse(const DensePass& pass, const Feed& feed, const DenseScratch& scratch) {
    SparseWalker walker(pass, scratch);
    for (Chunk chunk; feed.take(chunk);) {
        for (int64_t d = chunk.first; d < chunk.last; ++d) walker.walk(d);
    }
}

// sum_k alpha_k phi_wk of one row.
float weigh_prior(const DensePass& pass, int32_t row) {
    const int stride = pass.model->stride;
    const int32_t* n_w = pass.word_topic + static_cast<int64_t>(row) * stride;
    const float* inverse = pass.inverse + static_cast<int64_t>(pass.corpus->row_group[row]) * stride;
    const float eta = static_cast<float>(pass.model->eta);
    F sum[kParts] = {};
    for (int k = 0; k < stride; k += kLanes) {
        const int part = k / kLanes % kParts;
        sum[part] += load_floats(pass.alpha + k) * ((load_counts(n_w + k) + eta) * load_floats(inverse + k));
    }
    sum_lanes(sum);
    return total_of(sum);
}

}  // namespace radfast::gibbs::RADFAST_ISA
