// The tokenizer and the splitter on random bytes: the same corpus at any number of threads, in any batches
// and on every instruction set.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cpu.h"
#include "sentences.h"
#include "tokenize.h"

using namespace radfast;

namespace {

const std::vector<std::string> kPieces = {"a",        "B",
                                          "7",        "-",
                                          "/",        "'",
                                          ".",        ":",
                                          " ",        "\n",
                                          "_",        ",",
                                          "(",        ")",
                                          "?",        "\r\n",
                                          "___",      "[**",
                                          "**]",      "x",
                                          "xxxx",     "1.5",
                                          "mm",       "10:30",
                                          "Dr",       "the ",
                                          "No ",      "Liver ",
                                          "normal.",  "FINDINGS",
                                          "\xC3\xA9", "\xE2\x80\x99",
                                          "\xFF",     "antidisestablishment",
                                          "\xE2\x80", "\xF0\x9F\x98\x80"};

std::vector<std::string> make_texts(unsigned seed, size_t count) {
    std::mt19937 random(seed);
    std::vector<std::string> texts(count);
    for (std::string& text : texts) {
        for (size_t pieces = random() % 200; pieces > 0; --pieces) text += kPieces[random() % kPieces.size()];
        if (random() % 8 == 0) text += " word" + std::to_string(random() % 5000);
    }
    texts[0].clear();
    texts[1] = std::string(100000, 'b') + std::string(1, '\0');
    return texts;
}

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "drive_tokenize: %s\n", what);
    std::exit(1);
}

TokenCorpus build(const std::vector<std::string>& texts, const TokenRules& rules, const PruneRules& prune,
                  unsigned threads, size_t batch) {
    CorpusBuilder builder(rules, threads);
    for (size_t first = 0; first < texts.size(); first += batch) {
        const size_t last = std::min(texts.size(), first + batch);
        builder.add(
            {texts.begin() + static_cast<ptrdiff_t>(first), texts.begin() + static_cast<ptrdiff_t>(last)});
    }
    return builder.finish(prune);
}

bool equal(const TokenCorpus& a, const TokenCorpus& b) {
    return a.indptr == b.indptr && a.sentences == b.sentences && a.sentence_indptr == b.sentence_indptr &&
           a.vocabulary == b.vocabulary && a.counts == b.counts && a.document_counts == b.document_counts &&
           a.invalid == b.invalid &&
           std::equal(a.tokens.data.get(), a.tokens.data.get() + a.tokens.size, b.tokens.data.get(),
                      b.tokens.data.get() + b.tokens.size) &&
           std::equal(a.spans.data.get(), a.spans.data.get() + a.spans.size, b.spans.data.get(),
                      b.spans.data.get() + b.spans.size);
}

}  // namespace

int main() {
    SentenceRules sentences;
    sentences.add(kNeverLast, {"dr", "e.g"});
    sentences.add(kUnit, {"mm"});
    sentences.add(kStarter, {"the", "no"});
    sentences.add(kSection, {"findings"});
    const PruneRules prune{2, UINT64_MAX, 1, UINT64_MAX, {"liver"}};
    const std::vector<std::string> texts = make_texts(1, 1200);
    for (const Pattern pattern : {Pattern::radiology, Pattern::paper, Pattern::word}) {
        TokenRules rules{pattern, true, 2, Keep::mask, Keep::mask, true, &sentences};
        lower_simd(Simd::portable);
        const TokenCorpus truth = build(texts, rules, prune, 1, texts.size());
        require(truth.indptr.size() == texts.size() + 1, "a document is missing");
        require(!truth.vocabulary.empty(), "no words");
        for (const Simd simd : {Simd::avx2, Simd::avx512}) {
            lower_simd(simd);
            for (const unsigned threads : {1U, 2U, 3U, 8U}) {
                require(equal(build(texts, rules, prune, threads, texts.size()), truth), "threads change it");
                require(equal(build(texts, rules, prune, threads, 17), truth), "batches change it");
            }
        }
    }
    std::puts("drive_tokenize: ok");
}
