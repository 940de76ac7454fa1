// The samplers on random corpora: counts that are those of the topics, and the same topics at any number of
// threads and on every instruction set.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "cpu.h"
#include "gibbs.h"

using namespace radfast;

namespace {

void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "drive_gibbs: %s\n", what);
    std::exit(1);
}

struct Words {
    std::vector<int64_t> indptr{0};
    std::vector<int32_t> rows, document_group, row_group;
};

// Two models side by side; documents from empty to long, words from rare to frequent.
Words draw_words(std::mt19937& random, int n_documents, int n_words) {
    Words words;
    for (int d = 0; d < n_documents; ++d) {
        const int size = d % 7 == 3 ? 0 : 1 + static_cast<int>(random() % (d % 5 == 0 ? 120 : 20));
        for (int i = 0; i < size; ++i) {
            const int rare = static_cast<int>(random() % n_words);
            words.rows.push_back(d % 2 * n_words + static_cast<int>(random() % (rare + 1)));
        }
        words.indptr.push_back(static_cast<int64_t>(words.rows.size()));
        words.document_group.push_back(d % 2);
    }
    for (int w = 0; w < 2 * n_words; ++w) words.row_group.push_back(w / n_words);
    return words;
}

struct Counts {
    std::vector<int32_t> word_topic, totals;
};

Counts count(const Words& words, const std::vector<uint16_t>& topics, int32_t stride, int64_t end) {
    Counts counts{std::vector<int32_t>(words.row_group.size() * stride), std::vector<int32_t>(2 * stride)};
    for (int64_t i = 0; i < end; ++i) {
        const int32_t row = words.rows[i];
        ++counts.word_topic[row * stride + topics[i]];
        ++counts.totals[words.row_group[row] * stride + topics[i]];
    }
    return counts;
}

enum class Method { mh, dense, sparse, joining };

std::vector<uint16_t> run(const Words& words, int32_t n_topics, bool even, Method method, int threads) {
    const int32_t stride = (n_topics + 15) / 16 * 16;
    std::vector<double> alpha(n_topics, 0.05);
    if (!even) std::iota(alpha.begin(), alpha.end(), 0.01);
    const gibbs::Corpus corpus{words.indptr.data(),
                               words.rows.data(),
                               words.document_group.data(),
                               words.row_group.data(),
                               static_cast<int64_t>(words.indptr.size()) - 1,
                               static_cast<int64_t>(words.rows.size()),
                               static_cast<int32_t>(words.row_group.size()),
                               2};
    const gibbs::Model model{n_topics, stride, alpha.data(), 0.01, 0.5, 7};
    std::vector<uint16_t> topics(words.rows.size());
    std::mt19937 random(5);
    for (uint16_t& topic : topics) topic = static_cast<uint16_t>(random() % n_topics);
    const int64_t first = method == Method::joining ? corpus.n_documents / 2 : 0;
    Counts counts =
        count(words, topics, stride, method == Method::joining ? words.indptr[first] : corpus.n_tokens);
    const int64_t n_sweeps = method == Method::joining ? 1 : 3;
    std::vector<int32_t> sums(words.row_group.size() * stride);
    if (method == Method::mh) {
        gibbs::sample_mh(corpus, model, topics.data(), counts.totals.data(), sums.data(), 3, n_sweeps,
                         threads);
    } else {
        gibbs::sample_dense(corpus, model, topics.data(), counts.word_topic.data(), counts.totals.data(),
                            sums.data(), 3, n_sweeps, first, method == Method::joining,
                            method == Method::sparse, threads);
    }
    expect(*std::max_element(topics.begin(), topics.end()) < n_topics, "a topic is K or more");
    const Counts fresh = count(words, topics, stride, corpus.n_tokens);
    expect(fresh.totals == counts.totals, "totals are not those of the topics");
    const int64_t summed = corpus.n_tokens - (method == Method::joining ? words.indptr[first] : 0);
    expect(std::accumulate(sums.begin(), sums.end(), int64_t{0}) == n_sweeps * summed,
           "the sums have not every token once a sweep");
    expect(method == Method::mh || fresh.word_topic == counts.word_topic,
           "word counts are not those of the topics");
    return topics;
}

}  // namespace

int main() {
    std::mt19937 random(1);
    const Words words = draw_words(random, 150, 40);
    const Simd widest = detect_simd();
    for (const int32_t n_topics : {1, 5, 16, 33, 80, 200}) {
        for (const bool even : {true, false}) {
            for (const Method method : {Method::mh, Method::dense, Method::sparse, Method::joining}) {
                lower_simd(Simd::portable);
                const std::vector<uint16_t> wanted = run(words, n_topics, even, method, 1);
                for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
                    if (simd > widest) continue;
                    lower_simd(simd);
                    for (const int threads : {1, 2, 8}) {
                        expect(run(words, n_topics, even, method, threads) == wanted,
                               "other topics on other threads or instructions");
                    }
                }
            }
        }
    }
    return 0;
}
