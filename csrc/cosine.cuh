// Arithmetic of the `cosine` kernel that the GPU and, for the tests, the host share (cosine.h has the
// formula).
//
// A score is the CPU's, bit for bit: rows are made unit vectors by the same float64 sum of squares (gemm.h),
// and a pair is one chain of fused multiply-adds in the order of the features. Tensor cores only choose which
// pairs are worth that chain, and may not miss one. What makes that sure:
//
//     q, k    unit rows in float32        q', k'  the same rounded to float16        dq = |q - q'|, dk = |k -
//     k'| f(q, k) the float32 chain           t(q, k) what the tensor cores say of q', k'
//
//     |f - <q, k>|      <= F 2^-24 (1 + F 2^-23) |q| |k|        F roundings, each of a partial sum of at most
//     |q| |k|
//     |<q, k> - <q', k'>| <= dq |k| + |q'| dk                   Cauchy-Schwarz; dq and dk are measured, row
//     by row |t - <q', k'>|    <= F (18 / 16) 2^-23 |q'| |k'|          products are exact, 16 of them and the
//     sum are aligned
//                                                               and cut off at 24 bits (Fasi et al. 2021), in
//                                                               two steps on some generations: 18 terms
//
// |q|, |k|, |q'|, |k'| are below 1.001, so |f - t| <= E = 1.002 (dq + dk) + F 2^-21, more than twice the sum
// of the roundings. Let T be the k-th largest t of a query. k keys have f >= T - E, so the k-th largest f is
// at least that, and every key among the k best, or tied with the last of them, has t >= T - 2 E: those,
// about k and a few, are judged by f. Where they do not fit (hundreds of equal keys), the query is searched
// by f alone.
//
// float16 and not bfloat16 or TF32: of unit vectors it keeps as many bits as TF32 at the speed of bfloat16.
#pragma once

#include "on_device.cuh"

namespace radfast::cosine::device {

RADFAST_BOTH u32 bits_of(float x) {
#ifdef __CUDA_ARCH__
    return __float_as_uint(x);
#else
    u32 bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
#endif
}
RADFAST_BOTH float float_of(u32 bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
#endif
}

// Minus infinity.
RADFAST_BOTH float lowest() { return float_of(0xFF800000u); }

// An integer that orders as the score does; adding 0 turns -0 into 0.
RADFAST_BOTH u32 rank_of(float score) {
    const u32 bits = bits_of(score + 0.0f);
    return (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
}
RADFAST_BOTH float score_of(u32 rank) { return float_of((rank & 0x80000000u) ? rank & 0x7FFFFFFFu : ~rank); }

// An offer: larger is better, that is a higher score, and of equal scores the smaller id. No offer is 0.
RADFAST_BOTH u64 offer_of(float score, i32 id) {
    return (static_cast<u64>(rank_of(score)) << 32) | static_cast<u32>(~static_cast<u32>(id));
}
RADFAST_BOTH float score_of_offer(u64 offer) { return score_of(static_cast<u32>(offer >> 32)); }
RADFAST_BOTH i32 id_of_offer(u64 offer) { return static_cast<i32>(~static_cast<u32>(offer)); }

// Nearest float16, ties to even; |x| must be below 65520.
RADFAST_BOTH u16 round_to_half(float x) {
    const u32 bits = bits_of(x), sign = (bits >> 16) & 0x8000u, size = bits & 0x7FFFFFFFu;
    // Below 2^-14 steps are 2^-24 wide: adding 0.5 leaves that many bits, rounded.
    if (size < 0x38800000u) return static_cast<u16>(sign | (bits_of(float_of(size) + 0.5f) - 0x3F000000u));
    const u32 rounded = size + 0xFFFu + ((size >> 13) & 1u);
    return static_cast<u16>(sign | ((rounded - 0x38000000u) >> 13));
}
RADFAST_BOTH float half_to_float(u16 half) {
    const u32 sign = (half & 0x8000u) << 16, size = half & 0x7FFFu;
    // Subnormals are multiples of 2^-24.
    const float x =
        size < 0x400u ? static_cast<float>(size) * 0x1p-24f : float_of((size << 13) + 0x38000000u);
    return float_of(bits_of(x) | sign);
}

// How a row of this norm becomes a unit vector: times `scale`, or, where no float holds the factor, divided
// by the norm.
struct Unit {
    double norm;
    float scale;
    bool special;
};
RADFAST_BOTH Unit unit_of(double norm) {
    const bool special = norm != 0 && !(norm > 1e-18 && norm < 1e18);
    return {norm, norm == 0 || special ? 0.0f : static_cast<float>(1 / norm), special};
}
RADFAST_BOTH float unit_value(float x, const Unit& unit) {
    return unit.special ? static_cast<float>(x / unit.norm) : x * unit.scale;
}

// Upper bound of the length of what rounding to float16 took away, from the float32 sum of its squares.
// Sixteen sums of F / 16 terms are right to 1 in 2^20 / F; up to the F that cuda.py allows (8192) the 4 % are
// ample.
RADFAST_BOTH float bound_loss(float sum_of_squares) {
#ifdef __CUDA_ARCH__
    return 1.04f * sqrtf(sum_of_squares) + 1e-20f;
#else
    return 1.04f * __builtin_sqrtf(sum_of_squares) + 1e-20f;
#endif
}

// E above, for the losses of a query and of the key that lost most.
RADFAST_BOTH float error_bound(float query_loss, float key_loss, i32 features) {
    return 1.002f * (query_loss + key_loss) + static_cast<float>(features) * 0x1p-21f;
}

}  // namespace radfast::cosine::device
