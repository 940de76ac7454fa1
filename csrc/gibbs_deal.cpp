#include "gibbs_deal.h"

#include <algorithm>

namespace radfast::gibbs {

std::vector<int64_t> cut(const int64_t* start, int64_t first, int64_t last, int64_t goal) {
    std::vector<int64_t> edges{first};
    for (int64_t u = first + 1; u <= last; ++u) {
        if (u == last || start[u] - start[edges.back()] >= goal) edges.push_back(u);
    }
    return edges;
}

Deal::Deal(const int64_t* start, int64_t first, int64_t last, int threads, int64_t goal) {
    const auto size = [&](const Chunk& chunk) { return start[chunk.last] - start[chunk.first]; };
    const std::vector<int64_t> shares = cut(start, first, last, (start[last] - start[first]) / threads + 1);
    for (size_t share = 0; share + 1 < shares.size(); ++share) {
        const std::vector<int64_t> edges = cut(start, shares[share], shares[share + 1], goal);
        std::vector<Chunk>& chunks = chunks_.emplace_back();
        for (size_t i = 0; i + 1 < edges.size(); ++i) chunks.push_back({edges[i], edges[i + 1]});
        // The longest first: those that are left when others have ended are short.
        std::stable_sort(chunks.begin(), chunks.end(), [&](const Chunk& a, const Chunk& b) {
            return size(a) / (2 * goal) > size(b) / (2 * goal);
        });
    }
    taken_.reset(new Counter[chunks_.size()]);
}

void Deal::begin() {
    for (unsigned thread = 0; thread < n_threads(); ++thread) taken_[thread].value = 0;
}

bool Deal::take(unsigned thread, Chunk& chunk) {
    for (unsigned other = 0; other < n_threads(); ++other) {
        const unsigned from = (thread + other) % n_threads();
        const size_t i = taken_[from].value++;
        if (i >= chunks_[from].size()) continue;
        chunk = chunks_[from][i];
        return true;
    }
    return false;
}

}  // namespace radfast::gibbs
