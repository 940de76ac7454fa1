#include "cosine_parts.h"

#include <exception>
#include <mutex>
#include <thread>

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace radfast::cosine {
namespace {

#define RADFAST_INLINE inline __attribute__((always_inline))

constexpr int kClasses = 16;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

float floor_portable(const float* scores, std::int64_t keys, int k) {
    if (k > kClasses || keys < 2 * kClasses) return kLowest;
    float most[kClasses];
    for (int c = 0; c < kClasses; ++c) most[c] = scores[c];
    for (std::int64_t n = kClasses; n < keys; ++n)
        most[n % kClasses] = std::max(most[n % kClasses], scores[n]);
    // Those that fewer than k others exceed are the k largest.
    float floor = -kLowest;
    for (int c = 0; c < kClasses; ++c) {
        const auto larger =
            std::count_if(most, most + kClasses, [&](float other) { return other > most[c]; });
        floor = std::min(floor, larger < k ? most[c] : -kLowest);
    }
    return std::nextafterf(floor, kLowest);
}

#if defined(__x86_64__) && defined(__GNUC__)
// The same by instructions that gcc does not find: it takes the classes one by one.
__attribute__((target("avx2,fma"))) float floor_avx2(const float* scores, std::int64_t keys, int k) {
    if (k > kClasses || keys < 2 * kClasses) return kLowest;
    __m256 low = _mm256_loadu_ps(scores), high = _mm256_loadu_ps(scores + 8);
    std::int64_t n = kClasses;
    for (; n + kClasses <= keys; n += kClasses) {
        low = _mm256_max_ps(low, _mm256_loadu_ps(scores + n));
        high = _mm256_max_ps(high, _mm256_loadu_ps(scores + n + 8));
    }
    alignas(32) float most[kClasses];
    _mm256_store_ps(most, low);
    _mm256_store_ps(most + 8, high);
    if (n < keys) {
        for (int c = 0; n + c < keys; ++c) most[c] = std::max(most[c], scores[n + c]);
        low = _mm256_load_ps(most);
        high = _mm256_load_ps(most + 8);
    }
    __m256i low_larger = _mm256_setzero_si256(), high_larger = low_larger;
    for (int r = 0; r < kClasses; ++r) {
        const __m256 other = _mm256_broadcast_ss(most + r);
        low_larger = _mm256_sub_epi32(low_larger, _mm256_castps_si256(_mm256_cmp_ps(other, low, _CMP_GT_OQ)));
        high_larger =
            _mm256_sub_epi32(high_larger, _mm256_castps_si256(_mm256_cmp_ps(other, high, _CMP_GT_OQ)));
    }
    const __m256i few = _mm256_set1_epi32(k);
    const __m256 none = _mm256_set1_ps(-kLowest);
    low = _mm256_blendv_ps(none, low, _mm256_castsi256_ps(_mm256_cmpgt_epi32(few, low_larger)));
    high = _mm256_blendv_ps(none, high, _mm256_castsi256_ps(_mm256_cmpgt_epi32(few, high_larger)));
    __m256 least = _mm256_min_ps(low, high);
    least = _mm256_min_ps(least, _mm256_permute2f128_ps(least, least, 1));
    least = _mm256_min_ps(least, _mm256_shuffle_ps(least, least, 0x4e));
    least = _mm256_min_ps(least, _mm256_shuffle_ps(least, least, 0xb1));
    return std::nextafterf(_mm256_cvtss_f32(least), kLowest);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) float floor_avx512(const float* scores,
                                                                                          std::int64_t keys,
                                                                                          int k) {
    if (k > kClasses || keys < 2 * kClasses) return kLowest;
    const __m512 lowest = _mm512_set1_ps(kLowest);
    __m512 most = lowest;
    for (std::int64_t n = 0; n < keys; n += 16) {
        const __mmask16 there = static_cast<__mmask16>(keys - n >= 16 ? 0xffff : (1 << (keys - n)) - 1);
        most = _mm512_max_ps(most, _mm512_mask_loadu_ps(lowest, there, scores + n));
    }
    if (k == 1) return std::nextafterf(_mm512_reduce_max_ps(most), kLowest);
    const __m512i one = _mm512_set1_epi32(1);
    __m512i larger[2] = {};
    for (int r = 0; r < 16; ++r) {
        const __m512 other = _mm512_permutexvar_ps(_mm512_set1_epi32(r), most);
        const __mmask16 above = _mm512_cmp_ps_mask(other, most, _CMP_GT_OQ);
        larger[r & 1] = _mm512_mask_add_epi32(larger[r & 1], above, larger[r & 1], one);
    }
    const __mmask16 high =
        _mm512_cmplt_epi32_mask(_mm512_add_epi32(larger[0], larger[1]), _mm512_set1_epi32(k));
    return std::nextafterf(_mm512_mask_reduce_min_ps(high, most), kLowest);
}
#endif

}  // namespace

Floor floor_for(Simd simd) { return RADFAST_PICK(simd, floor); }

void follow_chains(const gemm::Engine& engine, const float* unit, const Rows& rows, const float* scales,
                   const std::int32_t* ids, std::int64_t count, std::int64_t depth, float* scores) {
    const float* from[gemm::kMaxColumns];
    float factors[gemm::kMaxColumns];
    for (std::int64_t at = 0; at < count; at += gemm::kMaxColumns) {
        const int here = static_cast<int>(std::min<std::int64_t>(gemm::kMaxColumns, count - at));
        for (int i = 0; i < here; ++i) {
            from[i] = rows.data + ids[at + i] * rows.stride;
            factors[i] = scales[ids[at + i]];
        }
        engine.chains(unit, from, factors, here, depth, scores + at);
    }
}

std::int64_t near_bytes() {
    std::int64_t second = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    second = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    constexpr std::int64_t kLeast = 256 << 10,
                           kMost = 2 << 20;  // what processors have; a guess where unknown
    return std::clamp(second, kLeast, kMost) / 4;
}

float* Buffer::allocate(std::size_t floats) {
    // Packed blocks are read with a new page every few tiles: small pages miss the translation cache.
    constexpr std::size_t kLargePage = 2 << 20;
    const std::size_t bytes = floats * sizeof(float);
    const std::size_t align = bytes >= kLargePage ? kLargePage : 64;
    void* memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    if (align == kLargePage) madvise(memory, (bytes + align - 1) / align * align, MADV_HUGEPAGE);
#endif
    return static_cast<float*>(memory);
}

float scale_of(const gemm::Engine& engine, const float* row, std::int64_t depth) {
    const double sum = engine.squares(row, depth);  // the squares of floats cannot overflow a double
    if (!std::isfinite(sum)) return std::numeric_limits<float>::quiet_NaN();
    const double norm = std::sqrt(sum);
    // Outside these bounds the factor or its product with a value would leave the range of normal floats.
    return norm == 0 ? 0.0f : norm > 1e-18 && norm < 1e18 ? static_cast<float>(1 / norm) : kSpecial;
}

void measure_keys(Rows keys, std::int64_t depth, int threads, float* scales) {
    const gemm::Engine& engine = gemm::engine_for(current_simd());
    constexpr std::int64_t kStep = 1024;
    std::atomic<std::int64_t> next{0};
    const std::int64_t steps = (keys.count + kStep - 1) / kStep;
    run_team(static_cast<int>(std::clamp<std::int64_t>(steps, 1, threads)), [&](int) {
        for (std::int64_t at; (at = next.fetch_add(kStep)) < keys.count;) {
            for (std::int64_t n = at; n < std::min(at + kStep, keys.count); ++n)
                scales[n] = scale_of(engine, keys.data + n * keys.stride, depth);
        }
    });
}

void lower(std::atomic<std::int64_t>& slot, std::int64_t value) {
    std::int64_t seen = slot.load(std::memory_order_relaxed);
    while (value < seen && !slot.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

std::int64_t Packer::pack(const Rows& rows, const float* scales, const std::int32_t* ids, std::int64_t first,
                          std::int64_t count, int width, float* dst, float* found) {
    const auto row_of = [&](std::int64_t i) { return ids ? std::int64_t{ids[i]} : first + i; };
    std::int64_t bad = BadRows::kNone;
    const std::size_t panel = gemm::panel_floats(depth_, width);
    for (std::int64_t from = 0; from < count; from += width, dst += panel) {
        const int here = static_cast<int>(std::min<std::int64_t>(width, count - from));
        const float *now[gemm::kMaxColumns], *next[gemm::kMaxColumns];
        float factors[gemm::kMaxColumns];
        for (int i = 0; i < here; ++i) {
            const std::int64_t row = row_of(from + i);
            now[i] = rows.data + row * rows.stride;
            next[i] = rows.data + row_of(std::min(from + i + width, count - 1)) * rows.stride;
            factors[i] = scales ? scales[row] : scale_of(engine_, now[i], depth_);
            if (found) found[row] = factors[i];
            if (factors[i] == kSpecial) {
                now[i] = divide(now[i], i);
                factors[i] = 1.0f;
            } else if (std::isnan(factors[i])) {
                bad = std::min(bad, row);
                factors[i] = 0.0f;
            }
        }
        engine_.pack(now, next, factors, here, depth_, width, dst);
    }
    return bad;
}

int Packer::unit(const float* row, float* dst) {
    float scale = scale_of(engine_, row, depth_);
    const bool bad = std::isnan(scale);
    if (scale == kSpecial) {
        row = divide(row, 0);
        scale = 1.0f;
    }
    for (std::int64_t d = 0; d < depth_; ++d) dst[d] = bad ? 0.0f : row[d] * scale;
    return bad ? -1 : 0;
}

const float* Packer::divide(const float* row, int lane) {
    float* copy =
        special_.reserve(static_cast<std::size_t>(gemm::kMaxColumns) * depth_) + std::int64_t{lane} * depth_;
    const double norm = std::sqrt(engine_.squares(row, depth_));
    for (std::int64_t d = 0; d < depth_; ++d) copy[d] = static_cast<float>(row[d] / norm);
    return copy;
}

void offer_tile(const gemm::Engine& engine, const float* tile, const std::uint32_t* masks, int rows,
                int valid, const std::int32_t* ids, std::int64_t first, std::int64_t first_query,
                BestK& best) {
    const std::uint32_t keep = valid >= 32 ? 0xffffffffu : (1u << valid) - 1;
    std::uint32_t hit = 0;
    for (int i = 0; i < rows; ++i) hit |= std::uint32_t{(masks[i] & keep) != 0} << i;
    for (; hit; hit &= hit - 1) {
        const int i = std::countr_zero(hit);
        for (std::uint32_t mask = masks[i] & keep; mask; mask &= mask - 1) {
            const int j = std::countr_zero(mask);
            const std::int32_t id = ids ? ids[j] : static_cast<std::int32_t>(first + j);
            best.offer(first_query + i, tile[i * engine.columns + j], id);
        }
    }
}

void run_team(int threads, const std::function<void(int)>& work) {
    std::exception_ptr error;
    std::mutex guard;
    const auto safely = [&](int thread) {
        try {
            work(thread);
        } catch (...) {
            const std::lock_guard lock(guard);
            if (!error) error = std::current_exception();
        }
    };
    std::vector<std::thread> team;
    for (int i = 1; i < threads; ++i) team.emplace_back(safely, i);
    safely(0);
    for (std::thread& member : team) member.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace radfast::cosine
