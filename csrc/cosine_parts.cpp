#include "cosine_parts.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__x86_64__) && defined(__GNUC__)
// gcc 12 warns of the undefined vectors in its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

std::uint32_t above_portable(const float* tile, int rows, int valid, const float* thresholds,
                             std::uint32_t* masks) {
    const int columns = gemm::engine_for(Simd::portable).columns;
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i) {
        std::uint32_t mask = 0;
        for (int j = 0; j < valid; ++j) mask |= std::uint32_t{tile[i * columns + j] > thresholds[i]} << j;
        any |= masks[i] = mask;
    }
    return any;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) std::uint32_t above_avx2(const float* tile, int rows, int valid,
                                                             const float* thresholds, std::uint32_t* masks) {
    const std::uint32_t keep = valid >= 16 ? 0xffffu : (1u << valid) - 1;
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i, tile += 16) {
        const __m256 limit = _mm256_set1_ps(thresholds[i]);
        const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(tile), limit, _CMP_GT_OQ));
        const int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(tile + 8), limit, _CMP_GT_OQ));
        any |= masks[i] = (static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 8) & keep;
    }
    return any;
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) std::uint32_t above_avx512(
    const float* tile, int rows, int valid, const float* thresholds, std::uint32_t* masks) {
    const std::uint32_t keep = valid >= 32 ? 0xffffffffu : (1u << valid) - 1;
    std::uint32_t any = 0;
    for (int i = 0; i < rows; ++i, tile += 32) {
        const __m512 limit = _mm512_set1_ps(thresholds[i]);
        const std::uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(tile), limit, _CMP_GT_OQ);
        const std::uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(tile + 16), limit, _CMP_GT_OQ);
        any |= masks[i] = (low | high << 16) & keep;
    }
    return any;
}
#endif

constexpr float kLowest = -std::numeric_limits<float>::infinity();

float floor_portable(const float*, int, std::int64_t, int) { return kLowest; }

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) float floor_avx2(const float* tiles, int row, std::int64_t keys, int k) {
    constexpr int kTile = 6 * 16, kClasses = 16;
    if (k > kClasses || keys < 2 * kClasses) return kLowest;
    const __m256 lowest = _mm256_set1_ps(kLowest);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 most[2] = {lowest, lowest};
    const float* at = tiles + row * 16;
    for (std::int64_t n = 0; n < keys; n += 16, at += kTile) {
        for (int h = 0; h < 2; ++h) {
            const int left =
                static_cast<int>(std::min<std::int64_t>(std::max<std::int64_t>(keys - n - 8 * h, 0), 8));
            const __m256 there = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(left), lane));
            most[h] = _mm256_max_ps(most[h], _mm256_blendv_ps(lowest, _mm256_loadu_ps(at + 8 * h), there));
        }
    }
    // How many maxima are larger than each; those that fewer than k exceed are the k largest.
    __m256i larger[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256 turned[2] = {most[0], most[1]};
    const __m256i next = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
    for (int r = 0; r < 8; ++r) {
        for (int h = 0; h < 2; ++h) {
            for (int g = 0; g < 2; ++g) {
                const __m256 above = _mm256_cmp_ps(turned[g], most[h], _CMP_GT_OQ);
                larger[h] = _mm256_sub_epi32(larger[h], _mm256_castps_si256(above));
            }
        }
        for (int g = 0; g < 2; ++g) turned[g] = _mm256_permutevar8x32_ps(turned[g], next);
    }
    const __m256 none = _mm256_set1_ps(-kLowest);
    const __m256i limit = _mm256_set1_epi32(k);
    float values[8];
    __m256 least = none;
    for (int h = 0; h < 2; ++h) {
        const __m256 keep = _mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, larger[h]));
        least = _mm256_min_ps(least, _mm256_blendv_ps(none, most[h], keep));
    }
    _mm256_storeu_ps(values, least);
    return std::nextafterf(*std::min_element(values, values + 8), kLowest);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) float floor_avx512(const float* tiles,
                                                                                          int row,
                                                                                          std::int64_t keys,
                                                                                          int k) {
    constexpr int kTile = 14 * 32, kClasses = 16;
    if (k > kClasses || keys < 2 * kClasses) return kLowest;
    const __m512 lowest = _mm512_set1_ps(kLowest);
    __m512 most = lowest;
    const float* at = tiles + row * 32;
    for (std::int64_t n = 0; n < keys; n += 32, at += kTile) {
        for (int h = 0; h < 2; ++h) {
            const std::int64_t left = std::clamp<std::int64_t>(keys - n - 16 * h, 0, 16);
            const __mmask16 there = static_cast<__mmask16>((1u << left) - 1);
            most = _mm512_max_ps(most, _mm512_mask_loadu_ps(lowest, there, at + 16 * h));
        }
    }
    // How many maxima are larger than each; those that fewer than k exceed are the k largest.
    __m512i larger = _mm512_setzero_si512(), turned = _mm512_castps_si512(most);
    for (int r = 1; r < 16; ++r) {
        turned = _mm512_alignr_epi32(turned, turned, 1);
        const __mmask16 above = _mm512_cmp_ps_mask(_mm512_castsi512_ps(turned), most, _CMP_GT_OQ);
        larger = _mm512_mask_sub_epi32(larger, above, larger, _mm512_set1_epi32(-1));
    }
    const __mmask16 keep = _mm512_cmplt_epi32_mask(larger, _mm512_set1_epi32(k));
    return std::nextafterf(_mm512_mask_reduce_min_ps(keep, most), kLowest);
}
#endif

}  // namespace

Floor floor_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return floor_avx512;
    if (simd == Simd::avx2) return floor_avx2;
#else
    (void)simd;
#endif
    return floor_portable;
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

Above above_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return above_avx512;
    if (simd == Simd::avx2) return above_avx2;
#else
    (void)simd;
#endif
    return above_portable;
}

bool scale_of(const gemm::Engine& engine, const float* row, std::int64_t depth, float* scale) {
    *scale = 0;
    const double sum = engine.squares(row, depth);  // the squares of floats cannot overflow a double
    if (!std::isfinite(sum)) return false;
    const double norm = std::sqrt(sum);
    // Outside these bounds the factor or its product with a value would leave the range of normal floats.
    *scale = norm == 0 ? 0.0f : norm > 1e-18 && norm < 1e18 ? static_cast<float>(1 / norm) : kSpecial;
    return true;
}

void lower(std::atomic<std::int64_t>& slot, std::int64_t value) {
    std::int64_t seen = slot.load(std::memory_order_relaxed);
    while (value < seen && !slot.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

void Packer::pack(const Rows& rows, const float* scales, const std::int32_t* ids, std::int64_t first,
                  int count, int width, float* dst) {
    const float* from[gemm::kMaxColumns];
    float factors[gemm::kMaxColumns];
    for (int i = 0; i < count; ++i) {
        const std::int64_t id = ids ? ids[i] : first + i;
        from[i] = rows.data + id * rows.stride;
        factors[i] = scales[i];
        if (factors[i] != kSpecial) continue;
        float* copy = special_.reserve(static_cast<std::size_t>(gemm::kMaxColumns) * depth_) + i * depth_;
        const double norm = std::sqrt(engine_.squares(from[i], depth_));
        for (std::int64_t d = 0; d < depth_; ++d) copy[d] = static_cast<float>(from[i][d] / norm);
        from[i] = copy;
        factors[i] = 1.0f;
    }
    engine_.pack(from, factors, count, depth_, width, dst);
}

void prefetch(const Rows& rows, const std::int32_t* ids, int count, std::int64_t depth) {
    constexpr std::int64_t kLine = 16;
    for (int i = 0; i < count; ++i) {
        const float* row = rows.data + ids[i] * rows.stride;
        for (std::int64_t d = 0; d < depth; d += kLine) __builtin_prefetch(row + d, 0, 2);
    }
}

namespace {

// Offers what exceeds the thresholds in one tile; key j of the tile has the id ids[j], or first + j without
// ids.
void offer_tile(const gemm::Engine& engine, Above above, const float* tile, std::int64_t first_query,
                int rows, int valid, const std::int32_t* ids, std::int64_t first, BestK& best) {
    std::uint32_t masks[gemm::kMaxRows];
    if (!above(tile, rows, valid, best.thresholds(first_query), masks)) return;
    for (int i = 0; i < rows; ++i) {
        for (std::uint32_t mask = masks[i]; mask; mask &= mask - 1) {
            const int j = std::countr_zero(mask);
            const std::int32_t id = ids ? ids[j] : static_cast<std::int32_t>(first + j);
            best.offer(first_query + i, tile[i * engine.columns + j], id);
        }
    }
}

}  // namespace

void scan_block(const gemm::Engine& engine, Above above, std::int64_t depth, const float* query_panel,
                std::int64_t first_query, int rows, const float* key_panels, std::int64_t keys,
                const std::int32_t* ids, std::int64_t first, BestK& best) {
    alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
    const std::size_t panel = gemm::panel_floats(depth, engine.columns);
    for (std::int64_t k = 0; k < keys; k += engine.columns, key_panels += panel) {
        engine.kernels[rows](query_panel, key_panels, depth, tile, false);
        const int valid = static_cast<int>(std::min<std::int64_t>(keys - k, engine.columns));
        offer_tile(engine, above, tile, first_query, rows, valid, ids ? ids + k : nullptr, first + k, best);
    }
}

void scan_list(const gemm::Engine& engine, Above above, Floor floor, std::int64_t depth,
               const float* query_panel, std::int64_t first_query, int rows, const float* key_panels,
               std::int64_t keys, const std::int32_t* ids, int k, float* tiles, BestK& best) {
    const std::size_t panel = gemm::panel_floats(depth, engine.columns);
    const std::size_t tile = static_cast<std::size_t>(engine.rows) * engine.columns;
    float* at = tiles;
    for (std::int64_t n = 0; n < keys; n += engine.columns, key_panels += panel, at += tile) {
        engine.kernels[rows](query_panel, key_panels, depth, at, false);
    }
    for (int i = 0; i < rows; ++i) best.raise(first_query + i, floor(tiles, i, keys, k));
    at = tiles;
    for (std::int64_t n = 0; n < keys; n += engine.columns, at += tile) {
        const int valid = static_cast<int>(std::min<std::int64_t>(keys - n, engine.columns));
        offer_tile(engine, above, at, first_query, rows, valid, ids + n, 0, best);
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
