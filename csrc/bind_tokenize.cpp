#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
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

template <class Scalar>
py::array_t<Scalar> as_array(Region&& region, std::vector<py::ssize_t> shape) {
    auto owner = std::make_unique<Region>(std::move(region));
    const void* data = owner->data();
    return lend<Scalar>(std::move(owner), data, std::move(shape));
}

py::list list_words(const py::array_t<uint8_t, py::array::c_style>& bytes,
                    const py::array_t<uint64_t, py::array::c_style>& ends) {
    py::list list(ends.size());
    uint64_t first = 0;
    for (py::ssize_t i = 0; i < ends.size(); ++i) {
        const uint64_t end = ends.at(i);
        if (end < first || end > static_cast<uint64_t>(bytes.size())) {
            throw py::value_error("[Tokenizer] the ends of words must ascend within their bytes");
        }
        const char* const word = reinterpret_cast<const char*>(bytes.data()) + first;
        PyObject* text = PyUnicode_DecodeUTF8(word, static_cast<py::ssize_t>(end - first), nullptr);
        if (!text) throw py::error_already_set();
        PyList_SET_ITEM(list.ptr(), i, text);
        first = end;
    }
    return list;
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
std::vector<std::string_view> view_texts(const py::list& texts, std::vector<py::object>& encoded) {
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
            unsigned threads, const std::optional<std::vector<std::string>>& vocabulary, std::string folder)
        : sentences_(std::move(sentences)), in_folder_(!folder.empty()) {
        const TokenRules rules{kPatterns.at(pattern),   lowercase,  min_length,      kKeeps.at(numbers),
                               kKeeps.at(placeholders), keep_spans, sentences_.get()};
        builder_ = std::make_unique<CorpusBuilder>(
            CorpusOptions{rules, threads, vocabulary ? &*vocabulary : nullptr, std::move(folder)});
    }

    ~Builder() {
        py::gil_scoped_release release;
        builder_.reset();
    }

    void add(py::list texts) {
        std::vector<py::object> held;
        std::vector<std::string_view> views = view_texts(texts, held);
        held.push_back(std::move(texts));
        submit(std::move(views), std::move(held));
    }

    void add_slices(py::buffer data, const py::array_t<int64_t, py::array::c_style>& bounds) {
        auto info = std::make_shared<py::buffer_info>(data.request());
        const auto* text = static_cast<const char*>(info->ptr);
        const int64_t* at = bounds.data();
        std::vector<std::string_view> views;
        for (py::ssize_t i = 0; i + 1 < bounds.size(); ++i) {
            if (at[i] < 0 || at[i + 1] < at[i] || at[i + 1] > info->size) {
                throw py::value_error("[Tokenizer] text bounds must ascend within the buffer");
            }
            views.emplace_back(text + at[i], static_cast<size_t>(at[i + 1] - at[i]));
        }
        std::vector<py::object> held;
        held.push_back(py::capsule(new std::shared_ptr<py::buffer_info>(std::move(info)), [](void* p) {
            delete static_cast<std::shared_ptr<py::buffer_info>*>(p);
        }));
        submit(std::move(views), std::move(held));
    }

    void add_lines(const std::string& path) {
        py::gil_scoped_release release;
        builder_->add_lines(path);
    }

    uint64_t wait() {
        uint64_t documents = 0;
        {
            py::gil_scoped_release release;
            documents = builder_->wait();
        }
        held_.clear();
        return documents;
    }

    py::dict finish(uint64_t min_documents, uint64_t max_documents, uint64_t drop_top,
                    uint64_t max_vocabulary, std::vector<std::string> stop_words) {
        const PruneRules rules{min_documents, max_documents, drop_top, max_vocabulary, std::move(stop_words)};
        TokenCorpus corpus;
        {
            py::gil_scoped_release release;
            corpus = builder_->finish(rules);
        }
        held_.clear();
        const auto documents = static_cast<py::ssize_t>(corpus.n_documents);
        const auto tokens = static_cast<py::ssize_t>(corpus.n_tokens);
        const auto sentences = static_cast<py::ssize_t>(corpus.n_sentences);
        py::dict found;
        found["documents"] = documents;
        found["tokens"] = tokens;
        found["sentences"] = sentences;
        WordList& words = corpus.vocabulary;
        const auto word_bytes = static_cast<py::ssize_t>(words.bytes.size());
        found["word_bytes"] = as_array<uint8_t>(std::move(words.bytes), {word_bytes});
        found["word_ends"] =
            as_array<uint64_t>(std::move(words.ends), {static_cast<py::ssize_t>(words.size)});
        found["counts"] = as_array(std::move(corpus.counts));
        found["document_counts"] = as_array(std::move(corpus.document_counts));
        found["invalid"] = corpus.invalid;
        if (in_folder_) return found;
        py::dict arrays;
        arrays["indptr"] = as_array<int64_t>(std::move(corpus.indptr), {documents + 1});
        arrays["tokens"] = as_array<int32_t>(std::move(corpus.tokens), {tokens});
        if (corpus.spans.data() || tokens == 0) {
            arrays["spans"] = as_array<uint32_t>(std::move(corpus.spans), {tokens, 2});
        }
        if (corpus.sentences.data()) {
            arrays["sentences"] = as_array<int64_t>(std::move(corpus.sentences), {sentences + 1});
            arrays["sentence_indptr"] = as_array<int64_t>(std::move(corpus.sentence_indptr), {documents + 1});
        }
        found["arrays"] = arrays;
        return found;
    }

  private:
    // The texts of the call before are done when add() returns; only then they may go.
    void submit(std::vector<std::string_view>&& views, std::vector<py::object>&& held) {
        {
            py::gil_scoped_release release;
            builder_->add(std::move(views));
        }
        held_ = std::move(held);
    }

    std::shared_ptr<SentenceRules> sentences_;
    const bool in_folder_;
    std::vector<py::object> held_;
    std::unique_ptr<CorpusBuilder> builder_;
};

}  // namespace

void bind_tokenize(py::module_& m) {
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const std::system_error& failure) {
            PyErr_SetString(PyExc_OSError, failure.what());
        }
    });
    py::class_<SentenceRules, std::shared_ptr<SentenceRules>>(m, "SentenceRules")
        .def(py::init(&make_rules), py::arg("tables"), py::arg("min_wrap"));
    m.def("list_words", &list_words, py::arg("bytes"), py::arg("ends"),
          "Strings of the UTF-8 between one end and the next.");
    m.def("split_sentences", &split, py::arg("text"), py::arg("rules"),
          "Spans int64 (S, 2) of the sentences of a bytes-like text.");
    py::class_<Builder>(m, "CorpusBuilder")
        .def(py::init<const std::string&, bool, uint32_t, const std::string&, const std::string&, bool,
                      std::shared_ptr<SentenceRules>, unsigned,
                      const std::optional<std::vector<std::string>>&, std::string>(),
             py::kw_only(), py::arg("pattern"), py::arg("lowercase"), py::arg("min_length"),
             py::arg("numbers"), py::arg("placeholders"), py::arg("keep_spans"), py::arg("sentences"),
             py::arg("threads"), py::arg("vocabulary"), py::arg("folder"))
        .def("add", &Builder::add, py::arg("texts"), "Adds a list of str or bytes.")
        .def("add_slices", &Builder::add_slices, py::arg("data"), py::arg("bounds"),
             "Adds data[bounds[i]:bounds[i + 1]] for every i.")
        .def("add_lines", &Builder::add_lines, py::arg("path"), "Adds the lines of a file.")
        .def("wait", &Builder::wait, "Waits for all that was added; returns the number of documents.")
        .def("finish", &Builder::finish, py::kw_only(), py::arg("min_documents"), py::arg("max_documents"),
             py::arg("drop_top"), py::arg("max_vocabulary"), py::arg("stop_words"));
}
