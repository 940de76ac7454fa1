#include "cosine_parts.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

namespace radfast::cosine {
namespace {

void above_portable(const float* tile, int rows, int valid, const float* thresholds, std::uint32_t* masks) {
    const int columns = gemm::engine_for(Simd::portable).columns;
    for (int i = 0; i < rows; ++i) {
        std::uint32_t mask = 0;
        for (int j = 0; j < valid; ++j) mask |= std::uint32_t{tile[i * columns + j] > thresholds[i]} << j;
        masks[i] = mask;
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2,fma"))) void above_avx2(const float* tile, int rows, int valid,
                                                    const float* thresholds, std::uint32_t* masks) {
    const std::uint32_t keep = valid >= 16 ? 0xffffu : (1u << valid) - 1;
    for (int i = 0; i < rows; ++i, tile += 16) {
        const __m256 limit = _mm256_set1_ps(thresholds[i]);
        const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(tile), limit, _CMP_GT_OQ));
        const int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(tile + 8), limit, _CMP_GT_OQ));
        masks[i] = (static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 8) & keep;
    }
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) void above_avx512(
    const float* tile, int rows, int valid, const float* thresholds, std::uint32_t* masks) {
    const std::uint32_t keep = valid >= 32 ? 0xffffffffu : (1u << valid) - 1;
    for (int i = 0; i < rows; ++i, tile += 32) {
        const __m512 limit = _mm512_set1_ps(thresholds[i]);
        const std::uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(tile), limit, _CMP_GT_OQ);
        const std::uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(tile + 16), limit, _CMP_GT_OQ);
        masks[i] = (low | high << 16) & keep;
    }
}
#endif

}  // namespace

Above above_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return above_avx512;
    if (simd == Simd::avx2) return above_avx2;
#else
    (void)simd;
#endif
    return above_portable;
}

bool scale_of(const float* row, std::int64_t depth, float* scale) {
    // Eight sums: the squares of floats cannot overflow a double, and the compiler can use vectors.
    double sums[8] = {};
    std::int64_t d = 0;
    for (; d + 8 <= depth; d += 8) {
        for (int i = 0; i < 8; ++i) sums[i] += static_cast<double>(row[d + i]) * row[d + i];
    }
    for (; d < depth; ++d) sums[0] += static_cast<double>(row[d]) * row[d];
    double sum = 0;
    for (double part : sums) sum += part;
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
        factors[i] = scales[id];
        if (factors[i] != kSpecial) continue;
        float* copy = special_.reserve(static_cast<std::size_t>(gemm::kMaxColumns) * depth_) + i * depth_;
        double sum = 0;
        for (std::int64_t d = 0; d < depth_; ++d) sum += static_cast<double>(from[i][d]) * from[i][d];
        const double norm = std::sqrt(sum);
        for (std::int64_t d = 0; d < depth_; ++d) copy[d] = static_cast<float>(from[i][d] / norm);
        from[i] = copy;
        factors[i] = 1.0f;
    }
    engine_.pack(from, factors, count, depth_, width, dst);
}

void scan_block(const gemm::Engine& engine, Above above, std::int64_t depth, const float* query_panel,
                std::int64_t first_query, int rows, const float* key_panels, std::int64_t keys,
                const std::int32_t* ids, std::int64_t first, BestK& best) {
    alignas(64) float tile[gemm::kMaxRows * gemm::kMaxColumns];
    std::uint32_t masks[gemm::kMaxRows];
    const std::size_t panel = gemm::panel_floats(depth, engine.columns);
    const float* thresholds = best.thresholds(first_query);
    for (std::int64_t k = 0; k < keys; k += engine.columns, key_panels += panel) {
        engine.kernels[rows](query_panel, key_panels, depth, tile, false);
        const int valid = static_cast<int>(std::min<std::int64_t>(keys - k, engine.columns));
        above(tile, rows, valid, thresholds, masks);
        for (int i = 0; i < rows; ++i) {
            for (std::uint32_t mask = masks[i]; mask; mask &= mask - 1) {
                const int j = std::countr_zero(mask);
                const std::int32_t id = ids ? ids[k + j] : static_cast<std::int32_t>(first + k + j);
                best.offer(first_query + i, tile[i * engine.columns + j], id);
            }
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
