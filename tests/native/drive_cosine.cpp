// Dense, candidate and pruned search and multiply_block, against plain loops, at every instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "cosine.h"
#include "cosine_pruned.h"
#include "gemm.h"

namespace {

using namespace radfast;
using namespace radfast::cosine;

int failures = 0;

void expect(bool holds, const char* what, Simd simd) {
    if (holds) return;
    std::printf("%s: %s\n", name_of(simd), what);
    ++failures;
}

std::vector<float> draw(std::int64_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
}

void check_block(Simd simd) {
    const gemm::Engine& engine = gemm::engine_for(simd);
    const std::int64_t m = 2 * engine.rows + 1, n = 2 * engine.columns + 3, depth = 37, stride = n + 5;
    const std::vector<float> a = draw(m * depth, 1), b = draw(n * depth, 2);
    const auto pack = [&](const std::vector<float>& rows, std::int64_t count, int width) {
        const std::size_t panel = gemm::panel_floats(depth, width);
        std::vector<float> packed((count + width - 1) / width * panel);
        const std::vector<float> ones(width, 1.0f);
        for (std::int64_t at = 0; at < count; at += width) {
            std::vector<const float*> from;
            for (std::int64_t i = at; i < std::min<std::int64_t>(at + width, count); ++i)
                from.push_back(rows.data() + i * depth);
            engine.pack(from.data(), from.data(), ones.data(), static_cast<int>(from.size()), depth, width,
                        packed.data() + at / width * panel);
        }
        return packed;
    };
    const std::vector<float> pa = pack(a, m, engine.rows), pb = pack(b, n, engine.columns);
    std::vector<float> c(m * stride, 7.0f);
    gemm::multiply_block(engine, pa.data(), m, pb.data(), n, depth, c.data(), stride, false);
    gemm::multiply_block(engine, pa.data(), m, pb.data(), n, depth, c.data(), stride, true);
    bool right = true, outside = true;
    for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
            const double sum = std::inner_product(a.begin() + i * depth, a.begin() + (i + 1) * depth,
                                                  b.begin() + j * depth, 0.0);
            right &= std::fabs(c[i * stride + j] - 2 * sum) < 1e-4;
        }
        for (std::int64_t j = n; j < stride; ++j) outside &= c[i * stride + j] == 7.0f;
    }
    expect(right, "multiply_block is wrong", simd);
    expect(outside, "multiply_block writes outside its block", simd);
}

void check_search(Simd simd, int k) {
    const std::int64_t nq = 45, nk = 333, depth = 70;
    const std::vector<float> q = draw(nq * depth, 3), n = draw(nk * depth, 4);
    const Rows queries = {q.data(), nq, depth}, keys = {n.data(), nk, depth};
    std::vector<float> scores(nq * k), other(nq * k);
    std::vector<std::int32_t> ids(nq * k), other_ids(nq * k);
    search_dense(queries, keys, nullptr, depth, k, 2, scores.data(), ids.data());
    bool right = true;
    for (std::int64_t i = 0; i < nq; ++i) {
        std::vector<std::pair<double, std::int32_t>> all;
        const auto unit = [&](const float* x) { return std::sqrt(std::inner_product(x, x + depth, x, 0.0)); };
        for (std::int64_t j = 0; j < nk; ++j) {
            const float *x = q.data() + i * depth, *y = n.data() + j * depth;
            all.push_back({-std::inner_product(x, x + depth, y, 0.0) / unit(x) / unit(y),
                           static_cast<std::int32_t>(j)});
        }
        std::sort(all.begin(), all.end());
        for (int r = 0; r < k; ++r) right &= std::fabs(all[r].first + scores[i * k + r]) < 1e-5;
    }
    expect(right, "search_dense is wrong", simd);

    std::vector<float> key_scales(nk);
    measure_keys(keys, depth, 2, key_scales.data());
    search_dense(queries, keys, key_scales.data(), depth, k, 2, other.data(), other_ids.data());
    expect(scores == other && ids == other_ids, "measured keys change the answers", simd);

    // One list of all keys for each query, each key once or twice: often enough read to go by bytes. Then the
    // first of these lists for all.
    for (int times : {1, 2}) {
        std::vector<std::int64_t> indptr(nq + 1);
        std::vector<std::int32_t> lists, group(nq);
        for (std::int64_t i = 0; i < nq; ++i) {
            group[i] = static_cast<std::int32_t>(i);
            for (std::int64_t j = times * nk; j-- > 0;) lists.push_back(static_cast<std::int32_t>(j % nk));
            indptr[i + 1] = static_cast<std::int64_t>(lists.size());
        }
        const Candidates candidates = {indptr.data(), nq, lists.data(), group.data()};
        search_candidates(queries, keys, nullptr, depth, k, candidates, 2, other.data(), other_ids.data());
        expect(scores == other && ids == other_ids, "lists differ from the dense search", simd);
        std::fill(group.begin(), group.end(), 0);
        search_candidates(queries, keys, key_scales.data(), depth, k, candidates, 2, other.data(),
                          other_ids.data());
        expect(scores == other && ids == other_ids, "a shared list differs from the dense search", simd);
    }

    const int prefix = 20;
    std::vector<float> basis(prefix * depth, 0.0f);
    for (int i = 0; i < prefix; ++i) basis[i * depth + i] = 1.0f;
    Pruned::Effort effort;
    Pruned(keys, depth, basis.data(), prefix)
        .search(queries, k, 2, 2.0, other.data(), other_ids.data(), effort);
    expect(scores == other && ids == other_ids, "the pruned search differs from the dense one", simd);
}

}  // namespace

int main() {
    for (Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (lower_simd(simd) != simd) continue;
        check_block(simd);
        for (int k : {1, 9, 20, 70}) check_search(simd, k);
    }
    if (!failures) std::puts("cosine: all as expected");
    return failures != 0;
}
