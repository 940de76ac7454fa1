// Fuzz target of tokenizer and splitter: any bytes give a corpus that is the same on every instruction set,
// at 1 and 3 threads, whose token and sentence spans tile the text. The first bytes choose the rules.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "cpu.h"
#include "sentences.h"
#include "tokenize.h"

using namespace radfast;

namespace {

const SentenceRules& sentence_rules() {
    static const SentenceRules rules = [] {
        SentenceRules made;
        made.add(kNeverLast, {"dr", "vs", "e.g"});
        made.add(kBeforeNumber, {"no", "fig"});
        made.add(kNotBeforeLower, {"ant", "a.m"});
        made.add(kUnit, {"mm", "cm"});
        made.add(kStarter, {"the", "no", "heart"});
        made.add(kContinuing, {"of", "the"});
        made.add(kNumbered, {"grade"});
        made.add(kSection, {"findings", "impression"});
        made.add(kSuffix, {"com"});
        return made;
    }();
    return rules;
}

void require(bool holds) {
    if (!holds) std::abort();
}

TokenCorpus build(const TokenRules& rules, const std::vector<std::string_view>& texts, unsigned threads) {
    CorpusBuilder builder({rules, threads, nullptr, {}});
    builder.add(texts);
    return builder.finish({});
}

bool equal(const Region& a, const Region& b) {
    return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

bool equal(const TokenCorpus& a, const TokenCorpus& b) {
    return a.vocabulary == b.vocabulary && a.counts == b.counts && a.document_counts == b.document_counts &&
           a.invalid == b.invalid && equal(a.tokens, b.tokens) && equal(a.spans, b.spans) &&
           equal(a.indptr, b.indptr) && equal(a.sentences, b.sentences) &&
           equal(a.sentence_indptr, b.sentence_indptr);
}

// Token spans ascend within each document; sentence ends ascend and end with the tokens.
void check(const TokenCorpus& corpus, const std::vector<std::string_view>& texts) {
    const auto* indptr = reinterpret_cast<const int64_t*>(corpus.indptr.data());
    const auto* spans = reinterpret_cast<const uint32_t*>(corpus.spans.data());
    require(corpus.n_documents == texts.size());
    for (size_t d = 0; d < texts.size(); ++d) {
        uint32_t last = 0;
        for (int64_t t = indptr[d]; t < indptr[d + 1]; ++t) {
            require(spans[2 * t] >= last && spans[2 * t] < spans[2 * t + 1]);
            last = spans[2 * t + 1];
        }
        require(last <= texts[d].size());
    }
    const auto* ends = reinterpret_cast<const int64_t*>(corpus.sentences.data());
    for (uint64_t s = 0; s < corpus.n_sentences; ++s) require(ends[s] <= ends[s + 1]);
    require(ends[0] == 0 && ends[corpus.n_sentences] == static_cast<int64_t>(corpus.n_tokens));
}

void check_sentences(std::string_view text) {
    std::vector<Span> spans;
    split_sentences(text.data(), text.size(), sentence_rules(), spans);
    int64_t last = 0;
    for (const Span& span : spans) {
        require(span.first >= last && span.first < span.last);
        for (int64_t at = last; at < span.first; ++at) {
            const auto byte = static_cast<uint8_t>(text[static_cast<size_t>(at)]);
            require(byte >= 0x80 || byte <= ' ');
        }
        last = span.last;
    }
    require(last <= static_cast<int64_t>(text.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const uint8_t choice = data[0];
    TokenRules rules;
    rules.pattern = static_cast<Pattern>(choice % 3);
    rules.lowercase = (choice & 4) != 0;
    rules.numbers = static_cast<Keep>((choice >> 3) % 3);
    rules.placeholders = static_cast<Keep>((choice >> 5) % 3);
    rules.min_length = 1 + data[1] % 4;
    rules.keep_spans = true;
    rules.sentences = &sentence_rules();
    std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
    check_sentences(rest);
    // 0xFE, which is in no UTF-8 text, ends a document.
    std::vector<std::string_view> texts;
    for (size_t end; (end = rest.find('\xFE')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
        texts.push_back(rest.substr(0, end));
    }
    texts.push_back(rest);
    lower_simd(Simd::portable);
    const TokenCorpus truth = build(rules, texts, 1);
    check(truth, texts);
    for (const Simd simd : {Simd::avx2, Simd::avx512}) {
        lower_simd(simd);
        require(equal(build(rules, texts, 1), truth));
    }
    if (data[1] >= 0xF0) require(equal(build(rules, texts, 3), truth));  // threads are dear to start
    return 0;
}
