// Dense, candidate and pruned search and multiply_block, against plain loops, at every instruction set.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "cosine.h"
#include "cosine_bytes.h"
#include "cosine_prefix.h"
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

// Unit rows of many shapes; some all but equal, some zero, some within few coordinates.
std::vector<float> draw_units(std::int64_t count, std::int64_t depth, unsigned seed) {
    std::vector<float> rows = draw(count * depth, seed);
    for (std::int64_t i = 0; i < count; ++i) {
        float* row = rows.data() + i * depth;
        if (i % 5 == 1) {
            for (std::int64_t d = 0; d < depth; ++d) row[d] = rows[d] + 1e-4f * row[d];
        }
        if (i % 5 == 2) std::fill(row, row + depth, 0.0f);
        if (i % 5 == 3) std::fill(row + (depth + 2) / 3, row + depth, 0.0f);
        if (i % 5 == 4) {
            for (std::int64_t d = 0; d < depth; ++d) row[d] /= static_cast<float>(d + 1);
        }
        const double norm = std::sqrt(std::inner_product(row, row + depth, row, 0.0));
        for (std::int64_t d = 0; d < depth && norm > 0; ++d) row[d] = static_cast<float>(row[d] / norm);
    }
    return rows;
}

// No score is above its bound, and no bound far above the inequality it stands for.
void check_bounds(Simd simd, int prefix) {
    const gemm::Engine& engine = gemm::engine_for(simd);
    const std::int64_t depth = prefix + 7;
    const Prefixes bounds(engine, prefix);
    const std::vector<float> q = draw_units(engine.rows, depth, 11 + prefix);
    const std::vector<float> n = draw_units(engine.columns, depth, 12 + prefix);
    const auto rest_of = [&](const float* row) {
        const double rest = std::sqrt(std::inner_product(row + prefix, row + depth, row + prefix, 0.0));
        return static_cast<float>(rest) * (1 + 0x1p-22f);
    };
    const auto pack = [&](const std::vector<float>& rows, int width) {
        std::vector<float> panel(bounds.panel_floats(width));
        for (int i = 0; i < width; ++i) {
            const float* row = rows.data() + i * depth;
            bounds.put(row, rest_of(row), i, width, panel.data());
        }
        return panel;
    };
    const std::vector<float> queries = pack(q, engine.rows), keys = pack(n, engine.columns);
    bool bound = true, close = true, or_ed = true;
    std::vector<std::uint32_t> masks(engine.rows);
    for (int rows = 1; rows <= engine.rows; ++rows) {
        std::vector<float> below(rows), above(rows);
        for (int j = 0; j < engine.columns; ++j) {
            const float* y = n.data() + j * depth;
            for (int i = 0; i < rows; ++i) {
                const float* x = q.data() + i * depth;
                const double held = std::inner_product(x, x + prefix, y, 0.0);
                below[i] =
                    bounds.limit(static_cast<float>(std::inner_product(x, x + depth, y, 0.0) - 2e-6 * depth));
                above[i] = bounds.limit(static_cast<float>(held + rest_of(x) * rest_of(y) + 2e-3));
            }
            const std::uint32_t any =
                bounds.reach(queries.data(), keys.data(), rows, below.data(), masks.data());
            for (int i = 0; i < rows; ++i) bound &= masks[i] >> j & any >> j & 1;
            bounds.reach(queries.data(), keys.data(), rows, above.data(), masks.data());
            for (int i = 0; i < rows; ++i) close &= !(masks[i] >> j & 1);
        }
        const float none = bounds.limit(std::numeric_limits<float>::infinity());
        std::fill(above.begin(), above.end(), none);
        or_ed &= bounds.reach(queries.data(), keys.data(), rows, above.data(), masks.data()) == 0;
        std::fill(above.begin(), above.end(), bounds.limit(-std::numeric_limits<float>::infinity()));
        const std::uint32_t all = engine.columns == 32 ? ~0u : (1u << engine.columns) - 1;
        or_ed &= bounds.reach(queries.data(), keys.data(), rows, above.data(), masks.data()) == all;
        for (int i = 0; i < rows; ++i) or_ed &= masks[i] == all;
    }
    expect(bound, "a score exceeds the bound of its prefix", simd);
    expect(close, "the bound of a prefix is loose", simd);
    expect(or_ed, "an infinite limit lets the wrong keys through", simd);
}

// Products of bytes are exact, and scores within their margin.
void check_bytes(Simd simd, std::int64_t depth) {
    const std::int64_t count = 23;
    const std::vector<float> q = draw_units(5, depth, 21), n = draw_units(count, depth, 22);
    const std::vector<float> ones(count, 1.0f);
    ByteKeys keys(count, depth);
    keys.fill({n.data(), count, depth}, ones.data(), 0, count);
    std::vector<std::int32_t> ids(count), sums(count + 1);
    for (std::int64_t j = 0; j < count; ++j) ids[j] = static_cast<std::int32_t>(j * 7 % count);
    std::vector<std::int16_t> fine(fine_values(depth));
    bool within = true, inside = true;
    for (int i = 0; i < 5; ++i) {
        const float* x = q.data() + i * depth;
        const ByteRow row = quantise_fine_for(simd)(x, depth, fine.data());
        const ByteKeys::Margin margin = keys.margin(row.error);
        for (std::int64_t some = 1; some <= count; ++some) {
            sums[some] = 77;
            byte_dots_for(simd)(fine.data(), keys.data(), ids.data(), some, some, depth, sums.data());
            inside &= sums[some] == 77;
            for (std::int64_t j = 0; j < some; ++j) {
                const double score = std::inner_product(x, x + depth, n.data() + ids[j] * depth, 0.0);
                const double step = keys.steps()[ids[j]];
                within &=
                    std::fabs(score - step * row.step * sums[j]) <= margin.fixed + margin.per_step * step;
            }
        }
    }
    expect(within, "a score leaves the margin of its bytes", simd);
    expect(inside, "products of bytes write beyond their end", simd);
}

}  // namespace

int main() {
    for (Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (lower_simd(simd) != simd) continue;
        check_block(simd);
        for (int k : {1, 9, 20, 70}) check_search(simd, k);
        for (int prefix : {1, 2, 3, 16, 37, 64, 301}) check_bounds(simd, prefix);
        for (int depth : {1, 15, 64, 70, 300}) check_bytes(simd, depth);
    }
    if (!failures) std::puts("cosine: all as expected");
    return failures != 0;
}
