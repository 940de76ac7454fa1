#include "cosine_pruned.h"

#include <ctime>
#include <numeric>

#include "cosine_bytes.h"
#include "cosine_parts.h"
#include "cosine_reach.h"

namespace radfast::cosine {
namespace {

// Query panels that go through the keys together: a key row is fetched once for all.
constexpr int kGroup = 8;
// Keys of which one is scored whole before bounds are used, and the most of these.
constexpr std::int64_t kSeedShare = 16, kMostSeeds = 4096;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kPending = 16;  // keys of one query that are scored together: as many chains run side by side
constexpr int kPaces = 3;     // measurements of the plain search's pace, of which the best counts

double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

struct Pruned::Parts {
    Parts(Rows keys_, std::int64_t depth_, int prefix_)
        : keys(keys_),
          depth(depth_),
          prefix(prefix_),
          engine(gemm::engine_for(current_simd())),
          // Unit rows, coordinates and products carry at most about `depth` roundings each; four times that.
          margin(4.0f * static_cast<float>(depth_ + prefix_ + 16) * 0x1p-24f),
          query_panel(gemm::panel_floats(depth_, engine.rows)),
          prefix_panel(gemm::panel_floats(prefix_, engine.rows)),
          key_panel(gemm::panel_floats(prefix_, engine.columns)),
          basis_panel(gemm::panel_floats(depth_, engine.columns)) {}

    // Coordinates of packed unit rows, (rows, prefix) in C order, and the length of what they leave, rounded
    // up.
    // Rows of scale 0 are zero and leave nothing.
    void project(const float* panel, const float* scale, int rows, float* coordinates, float* rest) const {
        float tile[gemm::kMaxRows * gemm::kMaxColumns];
        for (int p = 0; p < prefix; p += engine.columns) {
            engine.kernels[rows](panel, basis.get() + p / engine.columns * basis_panel, depth, tile,
                                 engine.columns, false);
            const int width = std::min(engine.columns, prefix - p);
            for (int i = 0; i < rows; ++i) {
                std::copy_n(tile + i * engine.columns, width, coordinates + std::int64_t{i} * prefix + p);
            }
        }
        for (int i = 0; i < rows; ++i) {
            const double held = engine.squares(coordinates + std::int64_t{i} * prefix, prefix);
            rest[i] =
                scale[i] == 0 ? 0.0f : static_cast<float>(std::sqrt(std::max(0.0, 1.0 - held) + margin));
        }
    }

    Rows keys;
    std::int64_t depth;
    int prefix;
    const gemm::Engine& engine;
    float margin;
    std::size_t query_panel, prefix_panel, key_panel, basis_panel;
    Buffer basis, prefixes;
    Buffer first;            // the first `seeds` keys, whole
    std::int64_t seeds = 0;  // a multiple of a panel
    std::vector<float> scales, rests;
    std::unique_ptr<ByteKeys> bytes;
    std::int64_t bad = BadRows::kNone;
};

Pruned::Pruned(Rows keys, std::int64_t depth, const float* basis, int prefix)
    : parts_(std::make_unique<Parts>(keys, depth, prefix)) {
    Parts& p = *parts_;
    const gemm::Engine& e = p.engine;
    Packer packer(e, depth);
    const std::vector<float> ones(prefix, 1.0f);
    p.basis.reserve((prefix + e.columns - 1) / e.columns * p.basis_panel);
    for (int at = 0; at < prefix; at += e.columns) {
        packer.pack({basis, prefix, depth}, ones.data(), nullptr, at, std::min(e.columns, prefix - at),
                    e.columns, p.basis.get() + at / e.columns * p.basis_panel);
    }
    p.seeds = std::min(keys.count / kSeedShare, kMostSeeds) / e.columns * e.columns;
    packer.pack(keys, nullptr, nullptr, 0, p.seeds, e.columns,
                p.first.reserve(p.seeds / e.columns * p.basis_panel));
    const std::int64_t panels = (keys.count + e.columns - 1) / e.columns;
    float* to = p.prefixes.reserve(panels * p.key_panel);
    std::fill_n(to, panels * p.key_panel, 0.0f);
    p.scales.assign(keys.count, 0.0f);
    // Lanes beyond the last key reach nothing.
    p.rests.assign(panels * e.columns, -std::numeric_limits<float>::infinity());
    Buffer panel;
    panel.reserve(p.query_panel);
    std::vector<float> coordinates(static_cast<std::size_t>(e.rows) * prefix);
    for (std::int64_t n = 0; n < keys.count; n += e.rows) {
        const int rows = static_cast<int>(std::min<std::int64_t>(e.rows, keys.count - n));
        for (std::int64_t i = n; i < n + rows; ++i) {
            p.scales[i] = scale_of(e, keys.data + i * keys.stride, depth);
        }
        p.bad = std::min(p.bad, packer.pack(keys, p.scales.data(), nullptr, n, rows, e.rows, panel.get()));
        p.project(panel.get(), p.scales.data() + n, rows, coordinates.data(), p.rests.data() + n);
        for (int i = 0; i < rows; ++i) {
            float* lane = to + (n + i) / e.columns * p.key_panel + (n + i) % e.columns;
            for (int d = 0; d < prefix; ++d)
                lane[std::int64_t{d} * e.columns] = coordinates[std::int64_t{i} * prefix + d];
        }
    }
    p.bytes = std::make_unique<ByteKeys>(keys.count, depth);
    p.bytes->fill(keys, p.scales.data(), 0, keys.count);
}

Pruned::~Pruned() = default;

std::int64_t Pruned::bad_key() const { return parts_->bad; }

namespace {

// One thread's group of query panels.
template <typename Parts>
class Searcher {
  public:
    Searcher(const Parts& parts, Rows queries, int k)
        : p_(parts),
          e_(parts.engine),
          queries_(queries),
          k_(k),
          reach_(reach_for(e_.simd)),
          quantise_(quantise_fine_for(e_.simd)),
          byte_dots_(byte_dots_for(e_.simd)),
          packer_(e_, parts.depth),
          best_(k, true),
          coordinates_(static_cast<std::size_t>(e_.rows) * parts.prefix),
          pending_(static_cast<std::size_t>(kGroup) * e_.rows * kPending) {
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
        std::fill_n(waiting_, count, 0);
        if (pair_seconds_ == 0) start += measure_pace(height(0, count));

        const double seeding = thread_seconds();
        for (std::int64_t q = 0; q < count; q += e_.rows) seed(q, height(q, count));
        plain_seconds += expect_plain(count, thread_seconds() - seeding);
        for (std::int64_t n = p_.seeds; n < p_.keys.count; n += e_.columns) {
            scan(n, count);
            if (products > most) return false;
        }
        std::vector<BestK*> parts = {&best_};
        for (std::int64_t q = 0; q < count; ++q) {
            if (waiting_[q]) score(q);
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
        p_.project(panel, scales, rows, coordinates_.data(), rests_ + q);
        float* prefix = prefix_.get() + q / e_.rows * p_.prefix_panel;
        for (int i = 0; i < rows; ++i) {
            // A zero query scores 0 with everything: no key is looked at, the first k are its answer.
            limits_[q + i] = scales[i] == 0 ? kInfinity : -kInfinity;
            float* unit = unit_.data() + (q + i) * p_.depth;
            for (std::int64_t d = 0; d < p_.depth; ++d) unit[d] = panel[d * e_.rows + i];
            const ByteRow row = quantise_(unit, p_.depth, fine_.data() + (q + i) * fine_values(p_.depth));
            steps_[q + i] = row.step;
            margins_[q + i] = p_.bytes->margin(row.error);
            const float* from = coordinates_.data() + std::int64_t{i} * p_.prefix;
            for (int d = 0; d < p_.prefix; ++d) prefix[d * e_.rows + i] = from[d];
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
            if (limits_[i] != kInfinity) limits_[i] = *best_.thresholds(i) - p_.margin;
        }
    }

    // One panel of keys against all queries of the group: first who reaches which key, then their products.
    void scan(std::int64_t n, std::int64_t count) {
        alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
        std::uint32_t masks[kGroup * gemm::kMaxRows];
        std::uint32_t reached = 0;
        const float* panel = p_.prefixes.get() + n / e_.columns * p_.key_panel;
        for (std::int64_t q = 0; q < count; q += e_.rows) {
            const int rows = height(q, count);
            e_.kernels[rows](prefix_.get() + q / e_.rows * p_.prefix_panel, panel, p_.prefix, tile,
                             e_.columns, false);
            reached |= reach_(tile, rows, rests_ + q, p_.rests.data() + n, limits_ + q, masks + q);
        }
        for (; reached; reached &= reached - 1) {
            const std::int8_t* row = p_.bytes->data() + (n + std::countr_zero(reached)) * p_.depth;
            for (std::int64_t d = 0; d < p_.depth; d += 64) __builtin_prefetch(row + d, 0, 3);
        }
        for (std::int64_t q = 0; q < count; ++q) {
            if (masks[q]) consider(q, n, masks[q]);
        }
    }

    // Keys of one panel that a query reaches: those whose bytes say they may still be among the best wait.
    void consider(std::int64_t q, std::int64_t n, std::uint32_t mask) {
        std::int32_t keys[gemm::kMaxColumns], sums[gemm::kMaxColumns];
        int reached = 0;
        for (; mask; mask &= mask - 1)
            keys[reached++] = static_cast<std::int32_t>(n + std::countr_zero(mask));
        products += reached;
        byte_dots_(fine_.data() + q * fine_values(p_.depth), p_.bytes->data(), keys, reached, reached,
                   p_.depth, sums);
        for (int i = 0; i < reached; ++i) {
            // A key whose length no float holds has no bytes.
            const float most =
                p_.bytes->steps()[keys[i]] * (static_cast<float>(sums[i]) * steps_[q] + margins_[q].per_step);
            if (p_.scales[keys[i]] != kSpecial && !(most + margins_[q].fixed > limits_[q])) continue;
            const float* row = p_.keys.data + keys[i] * p_.keys.stride;
            for (std::int64_t d = 0; d < p_.depth; d += 16) __builtin_prefetch(row + d, 0, 2);
            pending_[q * kPending + waiting_[q]] = keys[i];
            if (++waiting_[q] == kPending) score(q);
        }
    }

    // The exact chain for the keys that wait; then the limit follows.
    void score(std::int64_t q) {
        float scores[kPending];
        const std::int32_t* keys = pending_.data() + q * kPending;
        for (int j = 0; j < waiting_[q]; ++j) {
            if (p_.scales[keys[j]] == kSpecial) return score_packed(q);
        }
        follow_chains(e_, unit_.data() + q * p_.depth, p_.keys, p_.scales.data(), keys, waiting_[q], p_.depth,
                      scores);
        take(q, scores);
    }

    void score_packed(std::int64_t q) {
        float tile[gemm::kMaxColumns], scores[kPending];
        const std::int32_t* keys = pending_.data() + q * kPending;
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
        const std::int32_t* keys = pending_.data() + q * kPending;
        for (int j = 0; j < waiting_[q]; ++j) best_.offer(q, scores[j], keys[j]);
        waiting_[q] = 0;
        best_.tighten(q);
        limits_[q] = *best_.thresholds(q) - p_.margin;
    }

    const Parts& p_;
    const gemm::Engine& e_;
    Rows queries_;
    int k_;
    Reach reach_;
    QuantiseFine quantise_;
    ByteDots byte_dots_;
    Packer packer_;
    BestK best_;
    std::vector<std::uint64_t> scratch_;
    std::vector<float> coordinates_;
    std::vector<std::int32_t> pending_;
    Buffer full_, prefix_, gathered_;
    std::vector<float> unit_;
    std::vector<std::int16_t> fine_;
    float rests_[kGroup * gemm::kMaxRows], limits_[kGroup * gemm::kMaxRows];
    float steps_[kGroup * gemm::kMaxRows];
    ByteKeys::Margin margins_[kGroup * gemm::kMaxRows];
    int waiting_[kGroup * gemm::kMaxRows];
    double pair_seconds_ = 0;
};

}  // namespace

BadRows Pruned::search(Rows queries, int k, int threads, double most, float* scores, std::int32_t* ids,
                       Effort& effort) const {
    // Few queries are shared out in smaller groups, so that no thread is idle.
    const int rows = parts_->engine.rows;
    const std::int64_t panels = (queries.count + rows - 1) / rows;
    const std::int64_t step = std::clamp<std::int64_t>((panels + threads - 1) / threads, 1, kGroup) * rows;
    const int team =
        static_cast<int>(std::clamp<std::int64_t>((queries.count + step - 1) / step, 1, threads));
    std::atomic<std::int64_t> next{0}, bad{BadRows::kNone}, made{0};
    std::atomic<bool> given_up{false};
    std::vector<double> seconds(team, 0.0), plain_seconds(team, 0.0);
    run_team(team, [&](int thread) {
        Searcher<Parts> searcher(*parts_, queries, k);
        for (std::int64_t at; !given_up && (at = next.fetch_add(step)) < queries.count;) {
            const std::int64_t count = std::min(step, queries.count - at);
            const double allowed = most * static_cast<double>(count * parts_->keys.count);
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
    return {bad, parts_->bad};
}

}  // namespace radfast::cosine
