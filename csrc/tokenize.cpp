#include "tokenize.h"

#include <algorithm>
#include <stdexcept>

#include "tokenize_lines.h"
#include "tokenize_merge.h"
#include "tokenize_parallel.h"
#include "tokenize_store.h"
#include "tokenize_worker.h"

namespace radfast {

namespace {

constexpr size_t kMinUnit = 64 << 10, kMaxUnit = 1 << 20;  // bytes of text

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
        std::vector<const WordTable*> tables;
        for (const auto& worker : state_->workers) tables.push_back(&worker->words());
        const FinalNumbers numbers = merge_words(tables, rules, state_->threads, corpus);
        store.renumber(numbers.final_of, numbers.drops, state_->threads);
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
