#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "sentences.h"

namespace py = pybind11;

namespace {

using namespace radfast;

const std::map<std::string, SentenceWord> kTables = {
    {"never_last", kNeverLast}, {"before_number", kBeforeNumber}, {"not_before_lower", kNotBeforeLower},
    {"units", kUnit},           {"starters", kStarter},           {"continuing", kContinuing},
    {"numbered", kNumbered},    {"sections", kSection},           {"suffixes", kSuffix},
};

SentenceRules make_rules(const std::map<std::string, std::vector<std::string>>& tables, size_t min_wrap) {
    SentenceRules rules;
    for (const auto& [name, words] : tables) {
        const auto table = kTables.find(name);
        if (table == kTables.end())
            throw std::invalid_argument("[SentenceRules] unknown table '" + name + "'");
        rules.add(table->second, words);
    }
    rules.min_wrap = min_wrap;
    return rules;
}

// Hands the vector's memory to NumPy.
template <class Item, class Scalar>
py::array_t<Scalar> as_array(std::vector<Item>&& items, std::vector<py::ssize_t> shape) {
    auto* owner = new std::vector<Item>(std::move(items));
    py::capsule free(owner, [](void* p) { delete static_cast<std::vector<Item>*>(p); });
    return py::array_t<Scalar>(shape, reinterpret_cast<Scalar*>(owner->data()), free);
}

py::array_t<int64_t> split(const py::buffer& text, const SentenceRules& rules) {
    const py::buffer_info info = text.request();
    std::vector<Span> spans;
    {
        py::gil_scoped_release release;
        split_sentences(static_cast<const char*>(info.ptr), static_cast<size_t>(info.size), rules, spans);
    }
    const auto count = static_cast<py::ssize_t>(spans.size());
    return as_array<Span, int64_t>(std::move(spans), {count, 2});
}

}  // namespace

void bind_tokenize(py::module_& m) {
    py::class_<SentenceRules>(m, "SentenceRules")
        .def(py::init(&make_rules), py::arg("tables"), py::arg("min_wrap"));
    m.def("split_sentences", &split, py::arg("text"), py::arg("rules"),
          "Spans int64 (S, 2) of the sentences of a bytes-like text.");
}
