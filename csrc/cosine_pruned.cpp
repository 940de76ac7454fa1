#include "cosine_pruned.h"

#include <algorithm>
#include <ctime>
#include <numeric>

#include "cosine_pruned_keys.h"

namespace radfast::cosine {
namespace {

// Query panels that go through the keys together: a key row is fetched once for all.
constexpr int kGroup = 8;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kPending = 16;   // keys of one query that are scored together: as many chains run side by side
constexpr int kDeferred = 48;  // the same where scores are put off
// Keys of one query whose bytes are multiplied together on AVX2, and room for a panel more.
constexpr int kBatch = 8, kReached = kBatch + gemm::kMaxColumns;
constexpr int kPaces = 3;  // measurements of the plain search's pace, of which the best counts

double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One thread's group of query panels.
class Searcher {
  public:
    Searcher(const PrunedKeys& parts, Rows queries, int k)
        : p_(parts),
          e_(parts.engine),
          queries_(queries),
          k_(k),
          quantise_(quantise_fine_for(e_.simd)),
          byte_dots_(byte_dots_for(e_.simd)),
          packer_(e_, parts.depth),
          best_(k, true),
          defers_(e_.simd == Simd::avx2 && k <= BestK::kFew),
          floor_(k, true),
          room_(defers_ ? kDeferred : kPending),
          coordinates_(static_cast<std::size_t>(e_.rows) * parts.prefix),
          batch_(e_.simd == Simd::avx2 ? kBatch : 1),
          reached_(static_cast<std::size_t>(kGroup) * e_.rows * kReached),
          pending_(static_cast<std::size_t>(kGroup) * e_.rows * room_),
          most_(pending_.size()) {
        full_.reserve(kGroup * p_.query_panel);
        prefix_.reserve(kGroup * p_.prefix_panel);
        unit_.resize(static_cast<std::size_t>(kGroup) * e_.rows * p_.depth);
        fine_.resize(static_cast<std::size_t>(kGroup) * e_.rows * fine_values(p_.depth));
        gathered_.reserve(p_.basis_panel);
    }

    std::int64_t bad_query = BadRows::kNone, products = 0;
    double seconds = 0, plain_seconds = 0;  // taken by this thread, and what the plain search would take

    // False where more than `most` products of single pairs would be needed.
    bool run(std::int64_t first, std::int64_t count, std::int64_t most, float* scores, std::int32_t* ids) {
        double start = thread_seconds();
        most += products;
        for (std::int64_t q = 0; q < count; q += e_.rows) prepare(first, q, height(q, count));
        best_.reset(count);
        std::fill_n(held_, count, 0);
        std::fill_n(waiting_, count, 0);
        if (pair_seconds_ == 0) start += measure_pace(height(0, count));

        const double seeding = thread_seconds();
        for (std::int64_t q = 0; q < count; q += e_.rows) seed(q, height(q, count));
        plain_seconds += expect_plain(count, thread_seconds() - seeding);
        if (defers_) floor_ = best_;
        for (std::int64_t n = p_.seeds; n < p_.keys.count; n += e_.columns) {
            scan(n, count);
            if (products > most) return false;
        }
        finish(count);
        std::vector<BestK*> parts = {&best_};
        for (std::int64_t q = 0; q < count; ++q) {
            if (limits_[q] == kInfinity) {
                for (std::int64_t i = p_.seeds; i < std::min<std::int64_t>(k_, p_.keys.count); ++i)
                    best_.offer(q, 0.0f, static_cast<std::int32_t>(i));
            }
            BestK::drain(parts, q, scratch_, scores + (first + q) * k_, ids + (first + q) * k_);
        }
        seconds += thread_seconds() - start;
        return true;
    }

  private:
    int height(std::int64_t q, std::int64_t count) const {
        return static_cast<int>(std::min<std::int64_t>(e_.rows, count - q));
    }

    void prepare(std::int64_t first, std::int64_t q, int rows) {
        float scales[gemm::kMaxRows];
        const Rows own = {queries_.data + (first + q) * queries_.stride, rows, queries_.stride};
        for (int i = 0; i < rows; ++i) scales[i] = scale_of(e_, own.data + i * own.stride, p_.depth);
        float* panel = full_.get() + q / e_.rows * p_.query_panel;
        const std::int64_t bad = packer_.pack(own, scales, nullptr, 0, rows, e_.rows, panel);
        if (bad != BadRows::kNone) bad_query = std::min(bad_query, first + q + bad);
        float rests[gemm::kMaxRows];
        p_.project(panel, scales, rows, coordinates_.data(), rests);
        float* prefix = prefix_.get() + q / e_.rows * p_.prefix_panel;
        for (int i = 0; i < rows; ++i) {
            // A zero query scores 0 with everything: no key is looked at, the first k are its answer.
            set_limit(q + i, scales[i] == 0 ? kInfinity : -kInfinity);
            float* unit = unit_.data() + (q + i) * p_.depth;
            for (std::int64_t d = 0; d < p_.depth; ++d) unit[d] = panel[d * e_.rows + i];
            const ByteRow row = quantise_(unit, p_.depth, fine_.data() + (q + i) * fine_values(p_.depth));
            steps_[q + i] = row.step;
            margins_[q + i] = p_.bytes->margin(row.error);
            p_.bounds.put(coordinates_.data() + std::int64_t{i} * p_.prefix, rests[i], i, e_.rows, prefix);
        }
    }

    // Finds what the plain search needs for a pair, without offers, on tiles that lie in the second cache.
    // Returns its own time.
    double measure_pace(int rows) {
        const std::int64_t panel_bytes = static_cast<std::int64_t>(p_.basis_panel * sizeof(float));
        const std::int64_t panels = std::min(p_.seeds / e_.columns, near_bytes() / panel_bytes + 1);
        if (panels == 0) return 0;
        alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
        std::uint32_t masks[gemm::kMaxRows];
        float limits[gemm::kMaxRows];
        std::fill_n(limits, gemm::kMaxRows, kInfinity);
        double best = kInfinity, all = 0;
        for (int i = 0; i < kPaces; ++i) {
            const double start = thread_seconds();
            for (std::int64_t n = 0; n < panels; ++n) {
                const float* keys = p_.first.get() + n * p_.basis_panel;
                e_.filters[rows](full_.get(), keys, p_.depth, limits, full_.get(), tile, masks);
            }
            const double once = thread_seconds() - start;
            best = std::min(best, once);
            all += once;
        }
        pair_seconds_ = best / static_cast<double>(panels * e_.columns * rows);
        return all;
    }

    // What the plain search would take for `count` queries whose seeds took `seeding` seconds. Its offers
    // count from the k on where it makes them one by one, as seeds are: in keys without an order about
    // k (1 + ln(n / k)) of n are among the k best so far.
    double expect_plain(std::int64_t count, double seeding) const {
        const double tiles = pair_seconds_ * static_cast<double>(count * p_.keys.count);
        if (k_ <= kSeedK || p_.seeds == 0) return tiles;
        const auto offers = [&](std::int64_t keys) {
            return keys <= k_ ? static_cast<double>(keys)
                              : k_ * (1 + std::log(static_cast<double>(keys) / k_));
        };
        const double seeds = pair_seconds_ * static_cast<double>(count * p_.seeds);
        return tiles + std::max(seeding - seeds, 0.0) * offers(p_.keys.count) / offers(p_.seeds);
    }

    // The first keys whole: while little is known of a query nearly every key would pass its bound, and a
    // product in a tile is the cheapest there is.
    void seed(std::int64_t q, int rows) {
        alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
        std::uint32_t masks[gemm::kMaxRows];
        const float* panel = full_.get() + q / e_.rows * p_.query_panel;
        for (std::int64_t n = 0; n < p_.seeds; n += e_.columns) {
            const float* keys = p_.first.get() + n / e_.columns * p_.basis_panel;
            if (e_.filters[rows](panel, keys, p_.depth, best_.thresholds(q), panel, tile, masks))
                offer_tile(e_, tile, masks, rows, e_.columns, nullptr, n, q, best_);
        }
        for (std::int64_t i = q; i < q + rows; ++i) {
            best_.tighten(i);
            if (limits_[i] != kInfinity) set_limit(i, *best_.thresholds(i) - p_.margin);
        }
    }

    void set_limit(std::int64_t q, float limit) {
        limits_[q] = limit;
        bound_limits_[q] = p_.bounds.limit(limit);
    }

    // One panel of keys against all queries of the group: first who reaches which key, then their products,
    // of a batch of keys at a time.
    void scan(std::int64_t n, std::int64_t count) {
        std::uint32_t masks[kGroup * gemm::kMaxRows];
        std::uint32_t any = 0;
        const float* panel = p_.prefixes.get() + n / e_.columns * p_.key_panel;
        for (std::int64_t q = 0; q < count; q += e_.rows) {
            any |= p_.bounds.reach(prefix_.get() + q / e_.rows * p_.prefix_panel, panel, height(q, count),
                                   bound_limits_ + q, masks + q);
        }
        // Lanes beyond the last key reach nothing.
        const std::int64_t valid = p_.keys.count - n;
        const std::uint32_t there = valid >= 32 ? ~0u : (1u << valid) - 1;
        if (!(any &= there)) return;
        // No branch to guess wrong for the many that reach nothing.
        std::int32_t who[kGroup * gemm::kMaxRows + 1];
        int some = 0;
        for (std::int64_t q = 0; q < count; ++q) {
            who[some] = static_cast<std::int32_t>(q);
            some += (masks[q] & there) != 0;
        }
        for (; any; any &= any - 1) {
            const std::int8_t* row = p_.bytes->data() + (n + std::countr_zero(any)) * p_.depth;
            for (std::int64_t d = 0; d < p_.depth; d += 64) __builtin_prefetch(row + d, 0, 3);
        }
        for (int i = 0; i < some; ++i) {
            const std::int64_t q = who[i];
            std::int32_t* keys = reached_.data() + q * kReached;
            int held = held_[q];
            for (std::uint32_t mask = masks[q] & there; mask; mask &= mask - 1)
                keys[held++] = static_cast<std::int32_t>(n + std::countr_zero(mask));
            held_[q] = held;
            if (held >= batch_) consider(q);
        }
    }

    // Keys that a query reaches: those whose bytes say they may still be among the best wait.
    void consider(std::int64_t q) {
        const std::int32_t* keys = reached_.data() + q * kReached;
        std::int32_t sums[kReached];
        const int reached = held_[q];
        held_[q] = 0;
        products += reached;
        byte_dots_(fine_.data() + q * fine_values(p_.depth), p_.bytes->data(), keys, reached, reached,
                   p_.depth, sums);
        const ByteKeys::Margin margin = margins_[q];
        for (int i = 0; i < reached; ++i) {
            const float step = p_.bytes->steps()[keys[i]], about = static_cast<float>(sums[i]) * steps_[q];
            // A key whose length no float holds has no bytes.
            const bool known = p_.scales[keys[i]] != kSpecial;
            const float most = known ? step * (about + margin.per_step) + margin.fixed : kInfinity;
            if (!(most > limits_[q])) continue;
            if (defers_ && known) floor_.offer(q, step * (about - margin.per_step) - margin.fixed, keys[i]);
            wait(q, keys[i], most);
        }
        if (defers_) raise_limit(q);
    }

    void wait(std::int64_t q, std::int32_t key, float most) {
        if (!defers_) ask(key);
        pending_[q * room_ + waiting_[q]] = key;
        most_[q * room_ + waiting_[q]] = most;
        if (++waiting_[q] < room_) return;
        if (defers_) {
            raise_limit(q);
            drop(q);
        }
        if (2 * waiting_[q] > room_) score(q);
    }

    void ask(std::int32_t key) const {
        const float* row = p_.keys.data + key * p_.keys.stride;
        for (std::int64_t d = 0; d < p_.depth; d += 16) __builtin_prefetch(row + d, 0, 2);
    }

    void raise_limit(std::int64_t q) {
        float known = *best_.thresholds(q);
        if (defers_) known = std::max(known, *floor_.thresholds(q));
        set_limit(q, known - p_.margin);
    }

    // Keys that wait and have fallen behind go.
    void drop(std::int64_t q) {
        std::int32_t* keys = pending_.data() + q * room_;
        float* most = most_.data() + q * room_;
        int left = 0;
        for (int j = 0; j < waiting_[q]; ++j) {
            keys[left] = keys[j];
            most[left] = most[j];
            left += most[j] > limits_[q];
        }
        waiting_[q] = left;
    }

    // What still waits when all keys have been seen.
    void finish(std::int64_t count) {
        for (std::int64_t q = 0; q < count; ++q) {
            if (held_[q]) consider(q);
            if (defers_) drop(q);
        }
        for (std::int64_t q = 0; q < count; ++q) {
            if (defers_ && q + 1 < count) {
                for (int j = 0; j < waiting_[q + 1]; ++j) ask(pending_[(q + 1) * room_ + j]);
            }
            if (waiting_[q]) score(q);
        }
    }

    // The exact chain for the keys that wait; then the limit follows.
    void score(std::int64_t q) {
        float scores[kDeferred];
        const std::int32_t* keys = pending_.data() + q * room_;
        for (int j = 0; j < waiting_[q]; ++j) {
            if (p_.scales[keys[j]] == kSpecial) return score_packed(q);
        }
        follow_chains(e_, unit_.data() + q * p_.depth, p_.keys, p_.scales.data(), keys, waiting_[q], p_.depth,
                      scores);
        take(q, scores);
    }

    void score_packed(std::int64_t q) {
        float tile[gemm::kMaxColumns], scores[kDeferred];
        const std::int32_t* keys = pending_.data() + q * room_;
        for (int j = 0; j < waiting_[q]; ++j) {
            packer_.pack(p_.keys, p_.scales.data(), keys + j, 0, 1, e_.columns, gathered_.get());
            const float* row = full_.get() + q / e_.rows * p_.query_panel + q % e_.rows;
            e_.kernels[1](row, gathered_.get(), p_.depth, tile, e_.columns, false);
            scores[j] = tile[0];
        }
        take(q, scores);
    }

    void take(std::int64_t q, const float* scores) {
        products += waiting_[q];
        const std::int32_t* keys = pending_.data() + q * room_;
        for (int j = 0; j < waiting_[q]; ++j) best_.offer(q, scores[j], keys[j]);
        waiting_[q] = 0;
        best_.tighten(q);
        raise_limit(q);
    }

    const PrunedKeys& p_;
    const gemm::Engine& e_;
    Rows queries_;
    int k_;
    QuantiseFine quantise_;
    ByteDots byte_dots_;
    Packer packer_;
    BestK best_;
    // Whether scores are put off until all keys have been seen, and the k best by what each key has at least.
    bool defers_;
    BestK floor_;
    int room_;
    std::vector<std::uint64_t> scratch_;
    std::vector<float> coordinates_;
    int batch_;
    std::vector<std::int32_t> reached_, pending_;
    std::vector<float> most_;  // of a pending key's score
    Buffer full_, prefix_, gathered_;
    std::vector<float> unit_;
    std::vector<std::int16_t> fine_;
    float limits_[kGroup * gemm::kMaxRows], bound_limits_[kGroup * gemm::kMaxRows];
    float steps_[kGroup * gemm::kMaxRows];
    ByteKeys::Margin margins_[kGroup * gemm::kMaxRows];
    int held_[kGroup * gemm::kMaxRows], waiting_[kGroup * gemm::kMaxRows];
    double pair_seconds_ = 0;
};

}  // namespace

Simd pruned_simd() {
    static const bool splits = splits_avx512();
    return std::min(current_simd(), splits ? Simd::avx2 : Simd::avx512);
}

Pruned::Pruned(Rows keys, std::int64_t depth, const float* basis, int prefix, Simd simd)
    : keys_(std::make_unique<PrunedKeys>(keys, depth, basis, prefix, simd)) {}

Pruned::~Pruned() = default;

std::int64_t Pruned::bad_key() const { return keys_->bad; }

BadRows Pruned::search(Rows queries, int k, int threads, double most, float* scores, std::int32_t* ids,
                       Effort& effort) const {
    // Few queries are shared out in smaller groups, so that no thread is idle.
    const int rows = keys_->engine.rows;
    const std::int64_t panels = (queries.count + rows - 1) / rows;
    const std::int64_t step = std::clamp<std::int64_t>((panels + threads - 1) / threads, 1, kGroup) * rows;
    const int team =
        static_cast<int>(std::clamp<std::int64_t>((queries.count + step - 1) / step, 1, threads));
    std::atomic<std::int64_t> next{0}, bad{BadRows::kNone}, made{0};
    std::atomic<bool> given_up{false};
    std::vector<double> seconds(team, 0.0), plain_seconds(team, 0.0);
    run_team(team, [&](int thread) {
        Searcher searcher(*keys_, queries, k);
        for (std::int64_t at; !given_up && (at = next.fetch_add(step)) < queries.count;) {
            const std::int64_t count = std::min(step, queries.count - at);
            const double allowed = most * static_cast<double>(count * keys_->keys.count);
            if (!searcher.run(at, count, static_cast<std::int64_t>(allowed), scores, ids)) given_up = true;
        }
        lower(bad, searcher.bad_query);
        made += searcher.products;
        seconds[thread] = searcher.seconds;
        plain_seconds[thread] = searcher.plain_seconds;
    });
    const double plain = std::accumulate(plain_seconds.begin(), plain_seconds.end(), 0.0);
    effort.products = given_up ? -1 : made.load();
    effort.pace = plain > 0 ? std::accumulate(seconds.begin(), seconds.end(), 0.0) / plain : 0.0;
    return {bad, keys_->bad};
}

}  // namespace radfast::cosine
