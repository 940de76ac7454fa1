#include "gemm.h"

#include "gemm_x86.h"

namespace radfast::gemm {
namespace {

constexpr int kRows = 4, kColumns = 8;

template <int rows>
void multiply(const float* a, const float* b, std::int64_t depth, float* c, bool accumulate) {
    float sums[rows][kColumns] = {};
    if (accumulate) {
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < kColumns; ++j) sums[i][j] = c[i * kColumns + j];
    }
    for (std::int64_t d = 0; d < depth; ++d, a += kRows, b += kColumns) {
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < kColumns; ++j) sums[i][j] += a[i] * b[j];
    }
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < kColumns; ++j) c[i * kColumns + j] = sums[i][j];
}

void pack(const float* const* rows, const float* scales, int count, std::int64_t depth, int width,
          float* dst) {
    for (std::int64_t d = 0; d < depth; ++d, dst += width) {
        for (int r = 0; r < count; ++r) dst[r] = rows[r][d] * scales[r];
        for (int r = count; r < width; ++r) dst[r] = 0.0f;
    }
}

double squares(const float* row, std::int64_t depth) {
    double sums[kSquareSums] = {};
    std::int64_t d = 0;
    for (; d + kSquareSums <= depth; d += kSquareSums) {
        for (int i = 0; i < kSquareSums; ++i) sums[i] += static_cast<double>(row[d + i]) * row[d + i];
    }
    for (int i = 0; d < depth; ++d, ++i) sums[i] += static_cast<double>(row[d]) * row[d];
    return add_sums(sums);
}

constexpr Engine kPortable = {Simd::portable, kRows,
                              kColumns,       {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>},
                              pack,           squares};

}  // namespace

const Engine& engine_for(Simd simd) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (simd == Simd::avx512) return avx512_engine();
    if (simd == Simd::avx2) return avx2_engine();
#else
    (void)simd;
#endif
    return kPortable;
}

}  // namespace radfast::gemm
