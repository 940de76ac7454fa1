#include "tokenize.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <unordered_set>

#include "tokenize_parallel.h"
#include "tokenize_worker.h"

namespace radfast {

namespace {

constexpr size_t kMinUnit = 64 << 10, kMaxUnit = 4 << 20;  // bytes of text

struct Ranked {
    uint64_t count, documents, head;  // head: the first bytes, in order of comparison
    std::string_view word;
    uint32_t number;

    bool operator<(const Ranked& other) const {
        if (count != other.count) return count > other.count;
        if (head != other.head) return head < other.head;
        return word < other.word;
    }
};

uint64_t head_of(std::string_view word) {
    uint64_t head = 0;
    for (size_t i = 0; i < 8; ++i) head = head << 8 | (i < word.size() ? static_cast<uint8_t>(word[i]) : 0);
    return head;
}

// Words that stay, in the order of their numbers.
std::vector<Ranked> rank(const WordTable& words, const PruneRules& rules) {
    const std::unordered_set<std::string_view> stop(rules.stop_words.begin(), rules.stop_words.end());
    std::vector<Ranked> ranked;
    words.each([&](uint32_t number, std::string_view word, uint64_t count, uint64_t documents) {
        if (documents < rules.min_documents || documents > rules.max_documents || stop.contains(word)) return;
        ranked.push_back({count, documents, head_of(word), word, number});
    });
    std::sort(ranked.begin(), ranked.end());
    ranked.erase(ranked.begin(),
                 ranked.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(rules.drop_top, ranked.size())));
    if (ranked.size() > rules.max_vocabulary) ranked.resize(rules.max_vocabulary);
    if (ranked.size() > INT32_MAX) throw std::length_error("[Tokenizer] more than 2^31 - 1 words");
    return ranked;
}

// Replaces the numbers of a unit by final ones and closes the gaps of dropped words. Returns the tokens that
// stay.
size_t renumber(Unit& unit, const std::vector<int32_t>& final_of) {
    size_t from = 0, to = 0, sentence = 0;
    const bool spans = !unit.spans.empty();
    const auto move = [&](uint32_t tokens) {
        const size_t start = to;
        for (const size_t stop = from + tokens; from < stop; ++from) {
            const int32_t number = final_of[unit.numbers[from]];
            unit.numbers[to] = static_cast<uint32_t>(number);
            if (spans) {
                unit.spans[2 * to] = unit.spans[2 * from];
                unit.spans[2 * to + 1] = unit.spans[2 * from + 1];
            }
            to += number >= 0;
        }
        return static_cast<uint32_t>(to - start);
    };
    for (size_t document = 0; document < unit.document_tokens.size(); ++document) {
        if (unit.document_sentences.empty()) {
            unit.document_tokens[document] = move(unit.document_tokens[document]);
            continue;
        }
        const size_t start = to;
        for (uint32_t i = 0; i < unit.document_sentences[document]; ++i, ++sentence) {
            unit.sentence_tokens[sentence] = move(unit.sentence_tokens[sentence]);
        }
        unit.document_tokens[document] = static_cast<uint32_t>(to - start);
    }
    unit.numbers.resize(to);
    return to;
}

}  // namespace

struct CorpusBuilder::State {
    TokenRules rules;
    unsigned threads;
    bool learns = true;
    WordTable vocabulary;
    std::vector<std::string> words;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<Unit> units;
    uint64_t documents = 0;

    State(TokenRules token_rules, unsigned count) : rules(token_rules), threads(std::max(1U, count)) {}

    void start_workers() {
        workers.clear();
        for (unsigned i = 0; i < threads; ++i) {
            workers.push_back(std::make_unique<Worker>(rules, learns ? nullptr : &vocabulary));
        }
    }

    // Ranks the words of all workers into `corpus`; returns the final numbers of each worker's words.
    std::vector<std::vector<int32_t>> learn(const PruneRules& prune, TokenCorpus& corpus) {
        WordTable all;
        std::vector<std::vector<int32_t>> final_of(workers.size());
        for (size_t i = 0; i < workers.size(); ++i) {
            const WordTable& words_of = workers[i]->words();
            final_of[i].resize(words_of.size());
            words_of.each([&](uint32_t number, std::string_view word, uint64_t count, uint64_t in_documents) {
                final_of[i][number] = static_cast<int32_t>(all.add(WordKey::of(word), count, in_documents));
            });
        }
        const std::vector<Ranked> ranked = rank(all, prune);
        std::vector<int32_t> place(all.size(), -1);
        for (size_t i = 0; i < ranked.size(); ++i) {
            place[ranked[i].number] = static_cast<int32_t>(i);
            corpus.vocabulary.emplace_back(ranked[i].word);
            corpus.counts.push_back(ranked[i].count);
            corpus.document_counts.push_back(ranked[i].documents);
        }
        for (std::vector<int32_t>& numbers : final_of) {
            for (int32_t& number : numbers) number = place[static_cast<size_t>(number)];
        }
        return final_of;
    }
};

CorpusBuilder::CorpusBuilder(TokenRules rules, unsigned threads) : state_(new State(rules, threads)) {
    state_->start_workers();
}

CorpusBuilder::CorpusBuilder(TokenRules rules, unsigned threads, const std::vector<std::string>& vocabulary)
    : state_(new State(rules, threads)) {
    state_->learns = false;
    for (const std::string& word : vocabulary) state_->vocabulary.add(WordKey::of(word), 0, 0);
    if (state_->vocabulary.size() != vocabulary.size()) {
        throw std::invalid_argument("[Tokenizer] a word stands twice in the vocabulary");
    }
    state_->start_workers();
}

CorpusBuilder::~CorpusBuilder() = default;

uint64_t CorpusBuilder::documents() const { return state_->documents; }

void CorpusBuilder::add(const std::vector<std::string_view>& texts) {
    size_t bytes = 0;
    for (const std::string_view text : texts) bytes += text.size() + 1;
    const size_t target = std::clamp(bytes / (state_->threads * 8), kMinUnit, kMaxUnit);
    std::vector<size_t> bounds{0};
    size_t held = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
        held += texts[i].size() + 1;
        if (held >= target || i + 1 == texts.size()) {
            bounds.push_back(i + 1);
            held = 0;
        }
    }
    const size_t first = state_->units.size();
    state_->units.resize(first + bounds.size() - 1);
    share(bounds.size() - 1, state_->threads, [&](unsigned thread, size_t item) {
        Unit& unit = state_->units[first + item];
        unit.worker = thread;
        state_->workers[thread]->process(texts.data() + bounds[item], bounds[item + 1] - bounds[item], unit);
    });
    state_->documents += texts.size();
}

TokenCorpus CorpusBuilder::finish(const PruneRules& rules) {
    State& state = *state_;
    TokenCorpus corpus;
    if (state.learns) {
        const std::vector<std::vector<int32_t>> final_of = state.learn(rules, corpus);
        share(state.units.size(), state.threads, [&](unsigned, size_t item) {
            renumber(state.units[item], final_of[state.units[item].worker]);
        });
    }
    for (const auto& worker : state.workers) corpus.invalid += worker->invalid();
    state.start_workers();

    corpus.indptr.reserve(state.documents + 1);
    corpus.indptr.push_back(0);
    if (state.rules.sentences) {
        corpus.sentences.push_back(0);
        corpus.sentence_indptr.push_back(0);
    }
    std::vector<size_t> starts;
    size_t total = 0;
    for (const Unit& unit : state.units) {
        starts.push_back(total);
        total += unit.numbers.size();
        for (const uint32_t tokens : unit.document_tokens)
            corpus.indptr.push_back(corpus.indptr.back() + tokens);
        for (const uint32_t tokens : unit.sentence_tokens)
            corpus.sentences.push_back(corpus.sentences.back() + tokens);
        for (const uint32_t count : unit.document_sentences) {
            corpus.sentence_indptr.push_back(corpus.sentence_indptr.back() + count);
        }
    }
    corpus.tokens = Array<int32_t>(total);
    if (state.rules.keep_spans) corpus.spans = Array<uint32_t>(2 * total);
    share(state.units.size(), state.threads, [&](unsigned, size_t item) {
        Unit unit = std::move(state.units[item]);
        std::copy(unit.numbers.begin(), unit.numbers.end(), corpus.tokens.data.get() + starts[item]);
        if (state.rules.keep_spans) {
            std::copy_n(unit.spans.begin(), 2 * unit.numbers.size(),
                        corpus.spans.data.get() + 2 * starts[item]);
        }
    });
    state.units.clear();
    state.documents = 0;
    return corpus;
}

}  // namespace radfast
