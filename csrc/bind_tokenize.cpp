#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentences.h"
#include "tokenize.h"

namespace py = pybind11;

namespace {

using namespace radfast;

const std::map<std::string, SentenceWord> kTables = {
    {"never_last", kNeverLast}, {"before_number", kBeforeNumber}, {"not_before_lower", kNotBeforeLower},
    {"units", kUnit},           {"starters", kStarter},           {"continuing", kContinuing},
    {"numbered", kNumbered},    {"sections", kSection},           {"suffixes", kSuffix},
};
const std::map<std::string, Pattern> kPatterns = {
    {"radiology", Pattern::radiology}, {"paper", Pattern::paper}, {"word", Pattern::word}};
const std::map<std::string, Keep> kKeeps = {{"keep", Keep::keep}, {"drop", Keep::drop}, {"mask", Keep::mask}};

SentenceRules make_rules(const std::map<std::string, std::vector<std::string>>& tables, size_t min_wrap) {
    SentenceRules rules;
    for (const auto& [name, words] : tables) rules.add(kTables.at(name), words);
    rules.min_wrap = min_wrap;
    return rules;
}

// Hands memory to NumPy; `owner` is deleted with the array.
template <class Scalar, class Owner>
py::array_t<Scalar> lend(std::unique_ptr<Owner> owner, const void* data, std::vector<py::ssize_t> shape) {
    py::capsule free(owner.get(), [](void* p) { delete static_cast<Owner*>(p); });
    owner.release();
    return py::array_t<Scalar>(std::move(shape), static_cast<const Scalar*>(data), free);
}

template <class Scalar, class Item>
py::array_t<Scalar> as_array(std::vector<Item>&& items, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<std::vector<Item>>(std::move(items));
    const void* data = owner->data();
    return lend<Scalar>(std::move(owner), data, std::move(shape));
}

template <class Item>
py::array_t<Item> as_array(std::vector<Item>&& items) {
    const auto size = static_cast<py::ssize_t>(items.size());
    return as_array<Item, Item>(std::move(items), {size});
}

template <class Item>
py::array_t<Item> as_array(Array<Item>&& items, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<Array<Item>>(std::move(items));
    const void* data = owner->data.get();
    return lend<Item>(std::move(owner), data, std::move(shape));
}

py::array_t<int64_t> split(const py::buffer& text, const SentenceRules& rules) {
    const py::buffer_info info = text.request();
    std::vector<Span> spans;
    {
        py::gil_scoped_release release;
        split_sentences(static_cast<const char*>(info.ptr), static_cast<size_t>(info.size), rules, spans);
    }
    const auto count = static_cast<py::ssize_t>(spans.size());
    return as_array<int64_t, Span>(std::move(spans), {count, 2});
}

// Views of the texts of a list; what had to be encoded is kept in `encoded`.
std::vector<std::string_view> view_texts(const py::list& texts, std::vector<py::bytes>& encoded) {
    std::vector<std::string_view> views;
    views.reserve(texts.size());
    for (const py::handle text : texts) {
        PyObject* bytes = text.ptr();
        if (PyUnicode_Check(bytes)) {
            if (PyUnicode_IS_ASCII(bytes)) {
                views.emplace_back(static_cast<const char*>(PyUnicode_DATA(bytes)),
                                   static_cast<size_t>(PyUnicode_GET_LENGTH(bytes)));
                continue;
            }
            bytes = PyUnicode_AsEncodedString(bytes, "utf-8", "surrogatepass");
            if (!bytes) throw py::error_already_set();
            encoded.push_back(py::reinterpret_steal<py::bytes>(bytes));
        }
        if (!PyBytes_Check(bytes)) {
            throw py::type_error(std::string("[Tokenizer] a text must be str or bytes, is ") +
                                 Py_TYPE(bytes)->tp_name);
        }
        views.emplace_back(PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes)));
    }
    return views;
}

class Builder {
  public:
    Builder(const std::string& pattern, bool lowercase, uint32_t min_length, const std::string& numbers,
            const std::string& placeholders, bool keep_spans, std::shared_ptr<SentenceRules> sentences,
            unsigned threads, const std::optional<std::vector<std::string>>& vocabulary)
        : sentences_(std::move(sentences)) {
        const TokenRules rules{kPatterns.at(pattern),   lowercase,  min_length,      kKeeps.at(numbers),
                               kKeeps.at(placeholders), keep_spans, sentences_.get()};
        builder_ = vocabulary ? std::make_unique<CorpusBuilder>(rules, threads, *vocabulary)
                              : std::make_unique<CorpusBuilder>(rules, threads);
    }

    void add(const py::list& texts) {
        std::vector<py::bytes> encoded;
        const std::vector<std::string_view> views = view_texts(texts, encoded);
        py::gil_scoped_release release;
        builder_->add(views);
    }

    void add_slices(const py::buffer& data, const py::array_t<int64_t, py::array::c_style>& bounds) {
        const py::buffer_info info = data.request();
        const auto* text = static_cast<const char*>(info.ptr);
        const int64_t* at = bounds.data();
        std::vector<std::string_view> views;
        for (py::ssize_t i = 0; i + 1 < bounds.size(); ++i) {
            if (at[i] < 0 || at[i + 1] < at[i] || at[i + 1] > info.size) {
                throw py::value_error("[Tokenizer] text bounds must ascend within the buffer");
            }
            views.emplace_back(text + at[i], static_cast<size_t>(at[i + 1] - at[i]));
        }
        py::gil_scoped_release release;
        builder_->add(views);
    }

    py::dict finish(uint64_t min_documents, uint64_t max_documents, uint64_t drop_top,
                    uint64_t max_vocabulary, std::vector<std::string> stop_words) {
        const PruneRules rules{min_documents, max_documents, drop_top, max_vocabulary, std::move(stop_words)};
        TokenCorpus corpus;
        {
            py::gil_scoped_release release;
            corpus = builder_->finish(rules);
        }
        const auto tokens = static_cast<py::ssize_t>(corpus.tokens.size);
        const auto spans = static_cast<py::ssize_t>(corpus.spans.size / 2);
        py::dict found;
        found["indptr"] = as_array(std::move(corpus.indptr));
        found["tokens"] = as_array(std::move(corpus.tokens), {tokens});
        found["spans"] = as_array(std::move(corpus.spans), {spans, 2});
        found["sentences"] = as_array(std::move(corpus.sentences));
        found["sentence_indptr"] = as_array(std::move(corpus.sentence_indptr));
        found["vocabulary"] = py::cast(corpus.vocabulary);
        found["counts"] = as_array(std::move(corpus.counts));
        found["document_counts"] = as_array(std::move(corpus.document_counts));
        found["invalid"] = corpus.invalid;
        return found;
    }

    uint64_t documents() const { return builder_->documents(); }

  private:
    std::shared_ptr<SentenceRules> sentences_;
    std::unique_ptr<CorpusBuilder> builder_;
};

}  // namespace

void bind_tokenize(py::module_& m) {
    py::class_<SentenceRules, std::shared_ptr<SentenceRules>>(m, "SentenceRules")
        .def(py::init(&make_rules), py::arg("tables"), py::arg("min_wrap"));
    m.def("split_sentences", &split, py::arg("text"), py::arg("rules"),
          "Spans int64 (S, 2) of the sentences of a bytes-like text.");
    py::class_<Builder>(m, "CorpusBuilder")
        .def(py::init<const std::string&, bool, uint32_t, const std::string&, const std::string&, bool,
                      std::shared_ptr<SentenceRules>, unsigned,
                      const std::optional<std::vector<std::string>>&>(),
             py::kw_only(), py::arg("pattern"), py::arg("lowercase"), py::arg("min_length"),
             py::arg("numbers"), py::arg("placeholders"), py::arg("keep_spans"), py::arg("sentences"),
             py::arg("threads"), py::arg("vocabulary"))
        .def("add", &Builder::add, py::arg("texts"), "Adds a list of str or bytes.")
        .def("add_slices", &Builder::add_slices, py::arg("data"), py::arg("bounds"),
             "Adds data[bounds[i]:bounds[i + 1]] for every i.")
        .def("documents", &Builder::documents)
        .def("finish", &Builder::finish, py::kw_only(), py::arg("min_documents"), py::arg("max_documents"),
             py::arg("drop_top"), py::arg("max_vocabulary"), py::arg("stop_words"));
}
