// Exact cosine top-k without a Q x N matrix.
//
//     score[q, n] = <queries[q] / |queries[q]|, keys[n] / |keys[n]|>     float32
//
// Rows are normalised while they are packed, tiles of scores stay in the first cache, and each query keeps
// only its best k: descending score, equal scores by smaller id. A row of zeros scores 0 with everything. A
// row that holds NaN or an infinity is reported, not compared. Free places: id -1, score minus infinity.
//
// Every score is one chain of multiply-adds in the order of the features (gemm.h): a pair has the same score,
// bit for bit, in the dense, the candidate and the pruned form, at any number of threads and in any block.
#pragma once

#include <cstdint>
#include <limits>

namespace radfast::cosine {

// `count` rows of floats; row r starts at data + r * stride.
struct Rows {
    const float* data;
    std::int64_t count;
    std::int64_t stride;
};

// Query q is compared with the keys ids[indptr[g]] ... ids[indptr[g + 1] - 1], g = group[q]; with none when g
// is -1. Lists may be in any order; an id that stands twice counts once.
struct Candidates {
    const std::int64_t* indptr;
    std::int64_t groups;
    const std::int32_t* ids;
    const std::int32_t* group;
};

// First rows that are not finite, or none.
struct BadRows {
    static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
    std::int64_t query = kNone;
    std::int64_t key = kNone;
};

// Writes the factors that make keys unit vectors (scale_of in cosine_parts.h): for keys that are searched
// more than once. Every instruction set gives the same bits.
void measure_keys(Rows keys, std::int64_t depth, int threads, float* scales);

// Writes scores and ids, both (queries.count, k) in C order. Values are undefined when a bad row is reported.
// `key_scales`, of measure_keys, saves their computation; the answers are the same without.
BadRows search_dense(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k, int threads,
                     float* scores, std::int32_t* ids);

BadRows search_candidates(Rows queries, Rows keys, const float* key_scales, std::int64_t depth, int k,
                          const Candidates& candidates, int threads, float* scores, std::int32_t* ids);

}  // namespace radfast::cosine
