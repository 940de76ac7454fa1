#include "gibbs_dense.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "cpu.h"
#include "gibbs_pass.h"
#include "team.h"

namespace radfast::gibbs {

namespace {

constexpr int64_t kChunk = 1 << 7;  // tokens of a chunk, which is at least one document
constexpr int64_t kPart = 1 << 11;  // tokens of a batch that another thread counts for

struct Works {
    DenseWork dense, sparse;
    PriorWork prior;
};

Works choose_works() {
    switch (current_simd()) {
#if defined(__x86_64__) && defined(__GNUC__)
        case Simd::avx512:
            return {avx512::work_dense, avx512::work_sparse, avx512::weigh_prior};
        case Simd::avx2:
            return {avx2::work_dense, avx2::work_sparse, avx2::weigh_prior};
#endif
        default:
            return {portable::work_dense, portable::work_sparse, portable::weigh_prior};
    }
}

// Tokens first..last-1, of which n_moved have a new topic.
struct Range {
    int64_t first, last;
    size_t n_moved;
};

// Memory of one thread; vectors are aligned in it.
struct Owned {
    std::vector<float> floats;
    std::vector<int32_t> moved;
    Range moves;
    std::vector<uint32_t> topics;

    DenseScratch scratch(int32_t stride) {
        const size_t each = static_cast<size_t>(stride) * kWalkers;
        floats.resize(3 * each + kBlock);
        const size_t past = reinterpret_cast<uintptr_t>(floats.data()) / sizeof(float) % kBlock;
        float* start = floats.data() + (kBlock - past) % kBlock;
        topics.resize(2 * stride);
        return {start, start + each, start + 2 * each, topics.data()};
    }
};

// Edges of ranges of documents with about `goal` tokens each, from `first` to `last`.
std::vector<int64_t> cut(const int64_t* indptr, int64_t first, int64_t last, int64_t goal) {
    std::vector<int64_t> edges{first};
    for (int64_t d = first + 1; d <= last; ++d) {
        if (d == last || indptr[d] - indptr[edges.back()] >= goal) edges.push_back(d);
    }
    return edges;
}

// Chunks of documents first..last-1, the longest first: those that are left when others have ended are short.
std::vector<Chunk> cut_batch(const int64_t* indptr, int64_t first, int64_t last) {
    const std::vector<int64_t> edges = cut(indptr, first, last, kChunk);
    std::vector<Chunk> chunks;
    for (size_t i = 0; i + 1 < edges.size(); ++i) chunks.push_back({edges[i], edges[i + 1]});
    const auto size = [&](const Chunk& chunk) { return indptr[chunk.last] - indptr[chunk.first]; };
    std::stable_sort(chunks.begin(), chunks.end(), [&](const Chunk& a, const Chunk& b) {
        return size(a) / (2 * kChunk) > size(b) / (2 * kChunk);
    });
    return chunks;
}

// Which thread adds to a row: parts of all rows, so that no two threads meet.
uint32_t part_of(int32_t row, uint32_t parts) {
    return static_cast<uint64_t>(static_cast<uint32_t>(row) * 0x9E3779B1u) * parts >> 32;
}

// Brings the counts up to date for those of n tokens that moved whose rows are of `part`.
void count_moves(const DensePass& pass, const uint32_t* list, size_t n, uint32_t parts, uint32_t part,
                 int32_t* word_topic, int32_t* totals) {
    constexpr size_t kSome = 256;
    const Corpus& corpus = *pass.corpus;
    const int64_t stride = pass.model->stride;
    for (size_t begin = 0; begin < n; begin += kSome) {
        // They are listed first: a branch on chance is foretold wrong half of the time.
        uint32_t mine[kSome];
        size_t n_mine = 0;
        for (size_t j = begin; j < std::min(begin + kSome, n); ++j) {
            mine[n_mine] = list[j];
            n_mine += part_of(corpus.rows[pass.begin + list[j]], parts) == part;
        }
        for (size_t j = 0; j < n_mine; ++j) {
            const int64_t i = pass.begin + mine[j];
            const uint16_t old = pass.topics[i], now = pass.fresh[mine[j]];
            const int32_t row = corpus.rows[i];
            int32_t* counts = word_topic + row * stride;
            int32_t* total = totals + corpus.row_group[row] * stride;
            if (!pass.joining) {
                --counts[old];
                --total[old];
            }
            ++counts[now];
            ++total[now];
        }
    }
}

}  // namespace

bool Feed::take(Chunk& chunk) const {
    const size_t i = (*next)++;
    if (i >= chunks->size()) return false;
    chunk = (*chunks)[i];
    return true;
}

void sample_dense(const Corpus& corpus, const Model& model, uint16_t* topics, int32_t* word_topic,
                  int32_t* totals, int32_t* sums, int64_t first_sweep, int64_t n_sweeps,
                  int64_t first_document, bool joining, bool sparse, int threads) {
    const Works works = choose_works();
    const DenseWork work = sparse ? works.sparse : works.dense;
    const int64_t size = static_cast<int64_t>(corpus.n_groups) * model.stride;
    std::vector<float> alpha(model.stride + kBlock), inverse(size), inverse_less(size);
    for (int32_t k = 0; k < model.n_topics; ++k) alpha[k] = static_cast<float>(model.alpha[k]);
    const float smoothing = static_cast<float>(model.smoothing);
    const int64_t n_tokens = corpus.n_tokens - corpus.indptr[first_document];
    const std::vector<int64_t> batches =
        cut(corpus.indptr, first_document, corpus.n_documents, n_tokens / kBatches + 1);
    std::vector<std::vector<Chunk>> chunks;
    for (size_t batch = 0; batch + 1 < batches.size(); ++batch) {
        chunks.push_back(cut_batch(corpus.indptr, batches[batch], batches[batch + 1]));
    }
    Team team(static_cast<unsigned>(threads));
    std::vector<uint16_t> fresh;
    std::vector<uint32_t> moves;  // of each part one after the other, behind each a place to spare
    std::vector<float> prior(sparse ? corpus.n_rows : 0);
    std::vector<char> used(sparse ? corpus.n_rows : 0);
    std::vector<Owned> owned(threads);
    for (Owned& each : owned) each.moved.assign(size, 0);
    for (int64_t sweep = first_sweep; sweep < first_sweep + n_sweeps; ++sweep) {
        for (size_t batch = 0; batch + 1 < batches.size(); ++batch) {
            const int64_t begin = corpus.indptr[batches[batch]], end = corpus.indptr[batches[batch + 1]];
            for (int64_t row = 0; row < size; row += model.stride) {
                for (int32_t k = 0; k < model.n_topics; ++k) {
                    const float count = static_cast<float>(totals[row + k]);
                    inverse[row + k] = 1.0f / (count + smoothing);
                    inverse_less[row + k] = 1.0f / (count - 1.0f + smoothing);
                }
            }
            fresh.resize(std::max<size_t>(fresh.size(), end - begin));
            const DensePass pass{
                &corpus, &model,       alpha.data(), word_topic, inverse.data(), inverse_less.data(),
                topics,  fresh.data(), begin,        sweep,      joining,        prior.data()};
            if (sparse) {
                std::fill(used.begin(), used.end(), 0);
                for (int64_t i = begin; i < end; ++i) used[corpus.rows[i]] = 1;
                team.share(static_cast<size_t>(threads), [&](unsigned, size_t part) {
                    for (int32_t w = static_cast<int32_t>(part); w < corpus.n_rows; w += threads) {
                        if (used[w]) prior[w] = works.prior(pass, w);
                    }
                });
            }
            std::atomic<size_t> next{0};
            const Feed feed{&next, &chunks[batch]};
            team.share(std::min<size_t>(threads, chunks[batch].size()), [&](unsigned thread, size_t) {
                work(pass, feed, owned[thread].scratch(model.stride));
            });
            const uint32_t parts =
                static_cast<uint32_t>(std::clamp<int64_t>((end - begin) / kPart, 1, threads));
            moves.resize(std::max<size_t>(moves.size(), end - begin + parts));
            team.share(parts, [&](unsigned, size_t part) {
                Range& range = owned[part].moves;
                range = {begin + (end - begin) * static_cast<int64_t>(part) / parts,
                         begin + (end - begin) * static_cast<int64_t>(part + 1) / parts, 0};
                uint32_t* list = moves.data() + (range.first - begin) + part;
                for (int64_t i = range.first; i < range.last; ++i) {
                    list[range.n_moved] = static_cast<uint32_t>(i - begin);
                    range.n_moved += joining | (topics[i] != fresh[i - begin]);
                }
            });
            team.share(parts, [&](unsigned, size_t part) {
                for (uint32_t other = 0; other < parts; ++other) {
                    const Range& range = owned[other].moves;
                    const uint32_t* list = moves.data() + (range.first - begin) + other;
                    count_moves(pass, list, range.n_moved, parts, static_cast<uint32_t>(part), word_topic,
                                owned[part].moved.data());
                }
            });
            for (Owned& each : owned) {
                for (int64_t k = 0; k < size; ++k) totals[k] += each.moved[k];
                std::fill(each.moved.begin(), each.moved.end(), 0);
            }
            std::copy(fresh.begin(), fresh.begin() + (end - begin), topics + begin);
        }
        if (sums == nullptr) continue;
        const uint32_t parts = static_cast<uint32_t>(threads);
        team.share(parts, [&](unsigned, size_t part) {
            for (int64_t i = corpus.indptr[first_document]; i < corpus.n_tokens; ++i) {
                const int32_t row = corpus.rows[i];
                if (part_of(row, parts) == part) ++sums[static_cast<int64_t>(row) * model.stride + topics[i]];
            }
        });
    }
}

}  // namespace radfast::gibbs
