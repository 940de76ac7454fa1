// Tokens in the order of their rows, in parallel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gibbs.h"
#include "gibbs_deal.h"
#include "team.h"

namespace radfast::gibbs {

// Calls put(token, document, place) for every token, on any thread; the tokens of a row stand side by side
// and in the order of the corpus. Returns the first place of each row, (R+1,).
//
// Every part of the corpus has counts of its own, of 8 bytes a row: so few parts that they take less than the
// table of the model.
template <class Put>
std::vector<int64_t> sort_by_row(const Corpus& corpus, const Model& model, Team& team, int threads,
                                 const Put& put) {
    const int64_t n_rows = corpus.n_rows;
    const int64_t parts = std::min(threads, 1 + model.n_topics / 4);
    const std::vector<int64_t> edges = cut(corpus.indptr, 0, corpus.n_documents, corpus.n_tokens / parts + 1);
    const size_t n_parts = edges.size() - 1;
    std::vector<int64_t> next(n_parts * n_rows);
    team.share(n_parts, [&](unsigned, size_t part) {
        int64_t* counts = next.data() + part * n_rows;
        const int64_t end = corpus.indptr[edges[part + 1]];
        for (int64_t i = corpus.indptr[edges[part]]; i < end; ++i) ++counts[corpus.rows[i]];
    });
    std::vector<int64_t> start(n_rows + 1);
    for (size_t part = 0; part < n_parts; ++part) {
        for (int64_t w = 0; w < n_rows; ++w) start[w + 1] += next[part * n_rows + w];
    }
    for (int64_t w = 0; w < n_rows; ++w) start[w + 1] += start[w];
    std::vector<int64_t> place(start.begin(), start.end() - 1);
    for (size_t part = 0; part < n_parts; ++part) {
        for (int64_t w = 0; w < n_rows; ++w) {
            const int64_t count = next[part * n_rows + w];
            next[part * n_rows + w] = place[w];
            place[w] += count;
        }
    }
    team.share(n_parts, [&](unsigned, size_t part) {
        int64_t* places = next.data() + part * n_rows;
        for (int64_t d = edges[part]; d < edges[part + 1]; ++d) {
            for (int64_t i = corpus.indptr[d]; i < corpus.indptr[d + 1]; ++i) {
                put(i, d, places[corpus.rows[i]]++);
            }
        }
    });
    return start;
}

}  // namespace radfast::gibbs
