// The samplers on random corpora: counts that are those of the topics, and the same topics at any number of
// threads and on every instruction set. Expected counts and fold-in: rows that keep their tokens, shares that
// sum to 1, and the same bits likewise.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "cpu.h"
#include "gibbs.h"
#include "gibbs_fold.h"
#include "gibbs_refine.h"

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
    int64_t asked = 0;
    const auto proceed = [&] { return ++asked < 2; };  // two of three sweeps
    if (method == Method::mh) {
        gibbs::sample_mh(corpus, model, topics.data(), counts.word_topic.data(), counts.totals.data(),
                         sums.data(), 3, n_sweeps, threads, proceed);
    } else {
        gibbs::sample_dense(corpus, model, topics.data(), counts.word_topic.data(), counts.totals.data(),
                            sums.data(), 3, n_sweeps, first, method == Method::joining,
                            method == Method::sparse, threads, proceed);
    }
    expect(asked == std::min<int64_t>(n_sweeps, 2), "the run did not end when it was told to");
    expect(*std::max_element(topics.begin(), topics.end()) < n_topics, "a topic is K or more");
    const Counts fresh = count(words, topics, stride, corpus.n_tokens);
    expect(fresh.totals == counts.totals, "totals are not those of the topics");
    const int64_t summed = corpus.n_tokens - (method == Method::joining ? words.indptr[first] : 0);
    expect(std::accumulate(sums.begin(), sums.end(), int64_t{0}) == asked * summed,
           "the sums have not every token once a sweep");
    expect(fresh.word_topic == counts.word_topic, "word counts are not those of the topics");
    return topics;
}

std::vector<float> refine(const Words& words, int32_t n_topics, int64_t n_rounds, int threads) {
    const int32_t stride = (n_topics + 15) / 16 * 16;
    std::vector<double> alpha(n_topics);
    std::iota(alpha.begin(), alpha.end(), 0.01);
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
    const Counts counts = count(words, topics, stride, corpus.n_tokens);
    std::vector<float> expected(counts.word_topic.begin(), counts.word_topic.end());
    gibbs::refine(corpus, model, topics.data(), expected.data(), n_rounds, threads);
    for (size_t w = 0; w < words.row_group.size(); ++w) {
        const auto row = expected.begin() + w * stride, whole = row + stride;
        const auto before = counts.word_topic.begin() + w * stride;
        const double tokens = std::accumulate(before, before + stride, 0.0);
        expect(std::fabs(std::accumulate(row, whole, 0.0) - tokens) <= 1e-4 * tokens,
               "a row has not its tokens");
        expect(*std::min_element(row, whole) >= 0, "an expected count is below 0");
        expect(std::all_of(row + n_topics, whole, [](float x) { return x == 0; }),
               "a column behind K is not 0");
    }
    return expected;
}

// Tables of topics in both orders of memory; `broken` makes one row that stands in a document sum to 0.
std::vector<float> fold(const Words& words, int32_t n_topics, bool by_topic, bool broken, int threads) {
    const int32_t n_rows = static_cast<int32_t>(words.row_group.size());
    std::mt19937 random(9);
    std::vector<float> phi(static_cast<size_t>(n_rows) * n_topics);
    const int64_t row_step = by_topic ? 1 : n_topics, topic_step = by_topic ? n_rows : 1;
    for (int32_t w = 0; w < n_rows; ++w) {
        for (int32_t k = 0; k < n_topics; ++k) {
            const float rare = static_cast<float>(random() % 1000 + 1) * 1e-6f;
            phi[w * row_step + k * topic_step] = random() % 16 == 0 ? 100 * rare : rare;
        }
    }
    const int32_t bad = words.rows.back();
    for (int32_t k = 0; broken && k < n_topics; ++k) phi[bad * row_step + k * topic_step] = 0;
    std::vector<double> alpha(n_topics);
    std::iota(alpha.begin(), alpha.end(), 0.01);
    const int64_t n_documents = static_cast<int64_t>(words.indptr.size()) - 1;
    std::vector<float> theta(n_documents * n_topics);
    const gibbs::FoldIn job{words.indptr.data(),
                            words.rows.data(),
                            n_documents,
                            phi.data(),
                            row_step,
                            topic_step,
                            n_rows,
                            n_topics,
                            alpha.data(),
                            20,
                            1e-3,
                            theta.data()};
    expect(gibbs::fold_in(job, threads) == (broken ? bad : -1), "fold-in names another row");
    for (int64_t d = 0; d < n_documents && !broken; ++d) {
        const float* shares = theta.data() + d * n_topics;
        expect(std::fabs(std::accumulate(shares, shares + n_topics, 0.0) - 1) < 1e-4,
               "shares of a document do not sum to 1");
        expect(*std::min_element(shares, shares + n_topics) > 0, "a share is not above 0");
    }
    return theta;
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
    const Words many = draw_words(random, 4000, 3);  // more entries of a word than are summed at a time
    for (const int32_t n_topics : {1, 5, 33, 80, 300}) {
        lower_simd(Simd::portable);
        const std::vector<float> counts = refine(words, n_topics, 3, 1), most = refine(many, n_topics, 1, 1);
        for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
            if (simd > widest) continue;
            lower_simd(simd);
            for (const int threads : {1, 2, 8}) {
                expect(refine(words, n_topics, 3, threads) == counts &&
                           refine(many, n_topics, 1, threads) == most,
                       "other expected counts on other threads or instructions");
            }
        }
    }
    for (const int32_t n_topics : {1, 5, 33, 80, 300}) {
        lower_simd(Simd::portable);
        const std::vector<float> wanted = fold(words, n_topics, false, false, 1);
        for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
            if (simd > widest) continue;
            lower_simd(simd);
            for (const int threads : {1, 2, 8}) {
                for (const bool by_topic : {false, true}) {
                    expect(fold(words, n_topics, by_topic, false, threads) == wanted,
                           "other shares on other threads, instructions or order of memory");
                    fold(words, n_topics, by_topic, true, threads);
                }
            }
        }
    }
    return 0;
}
