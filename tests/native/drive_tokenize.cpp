// The tokenizer and the splitter on random bytes: the same corpus at any number of threads, in any batches
// and on every instruction set.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cpu.h"
#include "sentences.h"
#include "tokenize.h"
#include "tokenize_store.h"

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

const PruneRules kPrune{2, UINT64_MAX, 1, UINT64_MAX, {"liver"}};

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

TokenCorpus build(const std::vector<std::string>& texts, const TokenRules& rules, unsigned threads,
                  size_t batch, const std::string& folder = {}) {
    CorpusBuilder builder({rules, threads, nullptr, folder});
    for (size_t first = 0; first < texts.size(); first += batch) {
        const size_t last = std::min(texts.size(), first + batch);
        builder.add(
            {texts.begin() + static_cast<ptrdiff_t>(first), texts.begin() + static_cast<ptrdiff_t>(last)});
    }
    return builder.finish(kPrune);
}

std::string_view bytes_of(const Region& region) { return {region.data(), region.size()}; }

bool equal(const TokenCorpus& a, const TokenCorpus& b) {
    return a.vocabulary == b.vocabulary && a.counts == b.counts && a.document_counts == b.document_counts &&
           a.invalid == b.invalid && bytes_of(a.tokens) == bytes_of(b.tokens) &&
           bytes_of(a.spans) == bytes_of(b.spans) && bytes_of(a.indptr) == bytes_of(b.indptr) &&
           bytes_of(a.sentences) == bytes_of(b.sentences) &&
           bytes_of(a.sentence_indptr) == bytes_of(b.sentence_indptr);
}

// Whether the file is its head and then these bytes.
bool holds(const std::string& path, const Region& wanted) {
    std::ifstream file(path, std::ios::binary);
    const std::string found((std::istreambuf_iterator<char>(file)), {});
    return found.size() == Column::kHead + wanted.size() &&
           std::string_view(found).substr(Column::kHead) == bytes_of(wanted);
}

void check_folder(const std::vector<std::string>& texts, const TokenRules& rules, const TokenCorpus& truth) {
    const std::string folder =
        std::filesystem::temp_directory_path() / ("radfast-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    const TokenCorpus found = build(texts, rules, 3, 17, folder);
    require(found.n_tokens * 4 == truth.tokens.size(), "the folder holds another number of tokens");
    require(holds(folder + "/tokens.npy.part", truth.tokens) &&
                holds(folder + "/spans.npy.part", truth.spans) &&
                holds(folder + "/indptr.npy.part", truth.indptr) &&
                holds(folder + "/sentences.npy.part", truth.sentences) &&
                holds(folder + "/sentence_indptr.npy.part", truth.sentence_indptr),
            "the folder holds other bytes");
    std::filesystem::remove_all(folder);
}

void check_lines(const TokenRules& rules) {
    const std::string path = std::filesystem::temp_directory_path() / ("radfast-" + std::to_string(getpid()));
    std::vector<std::string> lines;
    for (size_t i = 0; i < 3000; ++i) lines.push_back(std::string(i % 97, 'a' + i % 26) + " liver\n");
    lines.push_back(std::string(300000, 'x') + " no break");
    {
        std::ofstream file(path, std::ios::binary);
        for (const std::string& line : lines) file << line;
    }
    for (const unsigned threads : {1U, 4U}) {
        CorpusBuilder builder({rules, threads, nullptr, {}});
        builder.add_lines(path);
        require(equal(builder.finish(kPrune), build(lines, rules, 1, lines.size())), "lines differ");
    }
    std::filesystem::remove(path);
}

}  // namespace

int main() {
    SentenceRules sentences;
    sentences.add(kNeverLast, {"dr", "e.g"});
    sentences.add(kUnit, {"mm"});
    sentences.add(kStarter, {"the", "no"});
    sentences.add(kSection, {"findings"});
    const std::vector<std::string> texts = make_texts(1, 1200);
    for (const Pattern pattern : {Pattern::radiology, Pattern::paper, Pattern::word}) {
        TokenRules rules{pattern, true, 2, Keep::mask, Keep::mask, true, &sentences};
        lower_simd(Simd::portable);
        const TokenCorpus truth = build(texts, rules, 1, texts.size());
        require(truth.n_documents == texts.size(), "a document is missing");
        require(truth.vocabulary.size > 0, "no words");
        for (const Simd simd : {Simd::avx2, Simd::avx512}) {
            lower_simd(simd);
            for (const unsigned threads : {1U, 2U, 3U, 8U}) {
                require(equal(build(texts, rules, threads, texts.size()), truth), "threads change it");
                require(equal(build(texts, rules, threads, 17), truth), "batches change it");
            }
        }
        check_folder(texts, rules, truth);
        check_lines(rules);
    }
    std::puts("drive_tokenize: ok");
}
