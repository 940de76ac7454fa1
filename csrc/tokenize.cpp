#include "tokenize.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_set>

#include "tokenize_lines.h"
#include "tokenize_parallel.h"
#include "tokenize_store.h"
#include "tokenize_worker.h"

namespace radfast {

namespace {

constexpr size_t kMinUnit = 64 << 10, kMaxUnit = 1 << 20;  // bytes of text

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

void sort(std::vector<Ranked>& items, unsigned threads) {
    std::vector<ptrdiff_t> bounds;
    for (size_t part = 0; part <= threads; ++part) {
        bounds.push_back(static_cast<ptrdiff_t>(items.size() * part / threads));
    }
    const auto begin = items.begin();
    share(threads, threads,
          [&](unsigned, size_t part) { std::sort(begin + bounds[part], begin + bounds[part + 1]); });
    for (size_t part = 1; part < threads; ++part) {
        std::inplace_merge(begin, begin + bounds[part], begin + bounds[part + 1]);
    }
}

// Words that stay, in the order of their numbers.
std::vector<Ranked> rank(const WordTable& words, const PruneRules& rules, unsigned threads) {
    const std::unordered_set<std::string_view> stop(rules.stop_words.begin(), rules.stop_words.end());
    std::vector<Ranked> ranked;
    ranked.reserve(words.size());
    words.each([&](uint32_t number, std::string_view word, uint64_t count, uint64_t documents) {
        if (documents < rules.min_documents || documents > rules.max_documents || stop.contains(word)) return;
        ranked.push_back({count, documents, head_of(word), word, number});
    });
    sort(ranked, threads);
    ranked.erase(ranked.begin(),
                 ranked.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(rules.drop_top, ranked.size())));
    if (ranked.size() > rules.max_vocabulary) ranked.resize(rules.max_vocabulary);
    if (ranked.size() > INT32_MAX) throw std::length_error("[Tokenizer] more than 2^31 - 1 words");
    return ranked;
}

}  // namespace

struct CorpusBuilder::State {
    const TokenRules rules;
    const unsigned threads;
    const bool learns;
    WordTable vocabulary;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<Buffer<char>> buffers;  // of file text, per worker
    CorpusStore store;
    uint64_t units = 0;
    Crew crew;  // last, so that it ends first

    explicit State(const CorpusOptions& options)
        : rules(options.rules),
          threads(std::max(1U, options.threads)),
          learns(!options.vocabulary),
          buffers(threads),
          store(options.folder, rules.sentences != nullptr, rules.keep_spans),
          crew(threads, [this] { store.abort(); }) {
        if (options.vocabulary) {
            for (const std::string& word : *options.vocabulary) vocabulary.add(WordKey::of(word), 1, 1);
            if (vocabulary.size() != options.vocabulary->size()) {
                throw std::invalid_argument("[Tokenizer] a word stands twice in the vocabulary");
            }
        }
        for (unsigned i = 0; i < threads; ++i) {
            workers.push_back(std::make_unique<Worker>(rules, learns ? nullptr : &vocabulary));
        }
    }

    // `fill(worker, buffer, unit)` makes the next unit.
    template <class Fill>
    void submit(Fill&& fill) {
        crew.submit([this, order = units++, fill = std::forward<Fill>(fill)](unsigned thread) {
            std::unique_ptr<Unit> unit = store.start(order);
            unit->worker = thread;
            fill(*workers[thread], buffers[thread], *unit);
            store.put(order, std::move(unit));
        });
    }

    // Ranks the words of all workers into `corpus`; returns the final numbers of each worker's words.
    std::vector<std::vector<int32_t>> learn(const PruneRules& prune, TokenCorpus& corpus) {
        // The first worker's table takes in the others: a table of its own would be memory to clear.
        WordTable& all = workers[0]->words();
        all.flush_counts();
        std::vector<std::vector<int32_t>> final_of(workers.size());
        for (size_t i = 1; i < workers.size(); ++i) {
            const WordTable& words_of = workers[i]->words();
            final_of[i].resize(words_of.size());
            words_of.each([&](uint32_t number, std::string_view word, uint64_t count, uint64_t in_documents) {
                final_of[i][number] = static_cast<int32_t>(all.add(WordKey::of(word), count, in_documents));
            });
        }
        const std::vector<Ranked> ranked = rank(all, prune, threads);
        std::vector<int32_t> place(all.size(), -1);
        corpus.vocabulary.reserve(ranked.size());
        corpus.counts.reserve(ranked.size());
        corpus.document_counts.reserve(ranked.size());
        for (size_t i = 0; i < ranked.size(); ++i) {
            place[ranked[i].number] = static_cast<int32_t>(i);
            corpus.vocabulary.emplace_back(ranked[i].word);
            corpus.counts.push_back(ranked[i].count);
            corpus.document_counts.push_back(ranked[i].documents);
        }
        for (std::vector<int32_t>& numbers : final_of) {
            for (int32_t& number : numbers) number = place[static_cast<size_t>(number)];
        }
        final_of[0] = std::move(place);
        return final_of;
    }
};

CorpusBuilder::CorpusBuilder(const CorpusOptions& options) : state_(new State(options)) {}

CorpusBuilder::~CorpusBuilder() = default;

void CorpusBuilder::add(std::vector<std::string_view> texts) {
    state_->crew.wait();
    size_t bytes = 0;
    for (const std::string_view text : texts) bytes += text.size() + 1;
    const size_t target = std::clamp(bytes / (state_->threads * 8), kMinUnit, kMaxUnit);
    const auto shared = std::make_shared<const std::vector<std::string_view>>(std::move(texts));
    for (size_t first = 0; first < shared->size();) {
        size_t last = first;
        for (size_t held = 0; last < shared->size() && held < target; ++last)
            held += (*shared)[last].size() + 1;
        state_->submit([shared, first, last](Worker& worker, Buffer<char>&, Unit& unit) {
            for (size_t i = first; i < last; ++i) worker.process((*shared)[i], unit);
        });
        first = last;
    }
}

void CorpusBuilder::add_lines(const std::string& path) {
    const auto file = std::make_shared<const LineFile>(path);
    const uint64_t piece =
        std::clamp(file->size() / (state_->threads * 8), uint64_t{kMinUnit}, uint64_t{kMaxUnit});
    for (uint64_t first = 0; first < file->size(); first += piece) {
        state_->submit([file, first, piece](Worker& worker, Buffer<char>& buffer, Unit& unit) {
            file->each(first, std::min(first + piece, file->size()), buffer,
                       [&](std::string_view text) { worker.process(text, unit); });
        });
    }
}

uint64_t CorpusBuilder::wait() {
    state_->crew.wait();
    return state_->store.n_documents();
}

TokenCorpus CorpusBuilder::finish(const PruneRules& rules) {
    wait();
    CorpusStore& store = state_->store;
    TokenCorpus corpus;
    if (state_->learns) {
        const std::vector<std::vector<int32_t>> final_of = state_->learn(rules, corpus);
        const bool drops = corpus.vocabulary.size() < state_->workers[0]->words().size();
        store.renumber(final_of, drops, state_->threads);
    }
    store.end();
    for (const auto& worker : state_->workers) corpus.invalid += worker->invalid();
    corpus.n_documents = store.n_documents();
    corpus.n_tokens = store.n_tokens();
    corpus.n_sentences = store.n_sentences();
    corpus.indptr = store.indptr().take();
    corpus.tokens = store.tokens().take();
    if (store.has_spans()) corpus.spans = store.spans().take();
    if (store.has_sentences()) {
        corpus.sentences = store.sentences().take();
        corpus.sentence_indptr = store.sentence_indptr().take();
    }
    return corpus;
}

}  // namespace radfast
