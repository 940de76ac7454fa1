// Queries with a list of keys of their own, by the bytes of the keys (cosine_bytes.h).
//
// Per query: products of bytes with the whole list, the k-th best of what the scores are at least, and the
// keys whose score may be above it. These few are scored whole, as many pairs together as the engine takes,
// of whichever queries, a query later than they were found: until then their rows have come from memory.
#pragma once

#include <cstdint>
#include <vector>

#include "cosine.h"
#include "cosine_bytes.h"
#include "cosine_parts.h"
#include "cosine_rank.h"

namespace radfast::cosine {

// at_least[i], at_most[i]: what the score of key ids[i] lies between, up to Margin::fixed.
using Bound = void (*)(const std::int32_t* sums, const std::int32_t* ids, const float* steps,
                       std::int64_t count, float step, float margin, float* at_least, float* at_most);

class ListSearch {
  public:
    static constexpr std::int64_t kQueries = 64;  // most queries between two calls of finish()

    // bytes: complete; scales: of all keys.
    ListSearch(Rows queries, Rows keys, const float* scales, const ByteKeys& bytes, std::int64_t depth,
               int k);

    // Searches a list of at least k entries; `next` is the list that follows (one of no entries if none
    // does).
    void add(std::int64_t query, const std::int32_t* list, std::int64_t length, const std::int32_t* next,
             std::int64_t next_length);
    // Writes what was found, rows of k.
    void finish(float* scores, std::int32_t* ids);

    std::int64_t bad_query = BadRows::kNone;

  private:
    // Leaves the keys that may be among the k best in kept_ and returns their number; -1 where equal values
    // leave open whether the best are `different` keys, which the caller may know.
    std::int64_t sieve(const ByteRow& own, std::int64_t count, bool different);
    float find_kth(std::int64_t high, bool& different);
    // Scores the first query that is not yet, but for some of its pairs, which wait in apart_.
    void score_next();
    void score_apart();
    void write(std::size_t from, std::size_t to, float* scores, std::int32_t* ids);

    Rows queries_, keys_;
    const float* scales_;
    const ByteKeys& bytes_;
    std::int64_t depth_;
    int k_;
    const gemm::Engine& engine_;
    QuantiseFine quantise_;
    ByteDots byte_dots_;
    Floor floor_;
    Bound bound_;
    Collect collect_;
    FindKth find_kth_;
    Order order_;
    Packer packer_;
    Buffer units_;  // of the queries since finish()
    std::vector<std::int64_t> rows_;
    std::vector<std::size_t> ends_;  // of their pairs
    // Pairs to be scored: unit query, key.
    std::vector<const float*> unit_of_;
    std::vector<std::int32_t> key_of_;
    std::vector<float> score_of_;
    std::size_t scored_ = 0;  // queries
    std::vector<std::size_t> apart_;
    std::vector<std::int16_t> fine_;
    std::vector<std::int32_t> list_, sums_, kept_;
    std::vector<float> at_least_, at_most_, high_;
    std::vector<std::uint64_t> items_;
};

}  // namespace radfast::cosine
