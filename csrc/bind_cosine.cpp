#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cosine.h"
#include "cosine_pruned.h"
#include "gemm.h"

namespace py = pybind11;

namespace {

using namespace radfast::cosine;
using Floats = py::array_t<float>;
template <typename T>
using Flat = py::array_t<T, py::array::c_style>;

Rows rows_of(const Floats& array) {
    return {array.data(), array.shape(0), static_cast<std::int64_t>(array.strides(0) / sizeof(float))};
}

// The factors of keys, or null for None.
const float* scales_of(const std::optional<Flat<float>>& scales) { return scales ? scales->data() : nullptr; }

// Returns (scores, ids, first bad query or -1, first bad key or -1).
template <typename Search>
py::tuple search(const Floats& queries, int k, Search&& run) {
    Floats scores({queries.shape(0), static_cast<py::ssize_t>(k)});
    Flat<std::int32_t> ids({queries.shape(0), static_cast<py::ssize_t>(k)});
    float* to_scores = scores.mutable_data();
    std::int32_t* to_ids = ids.mutable_data();
    BadRows bad;
    {
        py::gil_scoped_release unlocked;
        bad = run(to_scores, to_ids);
    }
    const auto or_none = [](std::int64_t row) { return row == BadRows::kNone ? -1 : row; };
    return py::make_tuple(scores, ids, or_none(bad.query), or_none(bad.key));
}

}  // namespace

void bind_cosine(py::module_& m) {
    m.def(
        "pruned_simd", [] { return std::string(radfast::name_of(pruned_simd())); },
        "Instruction set that `PrunedIndex` takes if not told.");
    py::class_<Pruned>(m, "PrunedIndex")
        .def(py::init([](const Floats& keys, const Flat<float>& basis, const std::string& simd) {
                 const radfast::Simd wanted =
                     simd.empty() ? pruned_simd() : radfast::simd_named(simd, "PrunedIndex");
                 const radfast::Simd chosen = std::min(wanted, radfast::current_simd());
                 const Rows rows = rows_of(keys);
                 const int prefix = static_cast<int>(basis.shape(0));
                 const std::int64_t depth = basis.shape(1);
                 const float* data = basis.data();
                 py::gil_scoped_release unlocked;
                 return std::make_unique<Pruned>(rows, depth, data, prefix, chosen);
             }),
             py::arg("keys").noconvert(), py::arg("basis").noconvert(), py::arg("simd") = "",
             py::keep_alive<1, 2>())
        .def(
            "search",
            [](const Pruned& index, const Floats& queries, int k, int threads, double most) {
                const Rows rows = rows_of(queries);
                Pruned::Effort effort;
                const py::tuple found = search(queries, k, [&](float* scores, std::int32_t* ids) {
                    return index.search(rows, k, threads, most, scores, ids, effort);
                });
                return found + py::make_tuple(effort.products, effort.pace);
            },
            py::arg("queries").noconvert(), py::arg("k"), py::arg("threads"), py::arg("most") = 2.0);
    m.def(
        "fma_peak",
        [](double seconds) {
            py::gil_scoped_release unlocked;
            return radfast::gemm::measure_peak(radfast::current_simd(), seconds);
        },
        py::arg("seconds"),
        "Multiply-adds per second of CPU time that one thread reaches on registers alone; 0 without SIMD.");
    m.def(
        "measure_keys",
        [](const Floats& keys, int threads) {
            const Rows rows = rows_of(keys);
            Flat<float> scales(keys.shape(0));
            float* to = scales.mutable_data();
            const std::int64_t depth = keys.shape(1);
            {
                py::gil_scoped_release unlocked;
                measure_keys(rows, depth, threads, to);
            }
            return scales;
        },
        py::arg("keys").noconvert(), py::arg("threads"));
    m.def(
        "cosine_dense",
        [](const Floats& queries, const Floats& keys, int k, int threads,
           const std::optional<Flat<float>>& key_scales) {
            const Rows q = rows_of(queries), n = rows_of(keys);
            const float* scales = scales_of(key_scales);
            const std::int64_t depth = queries.shape(1);
            return search(queries, k, [&](float* scores, std::int32_t* ids) {
                return search_dense(q, n, scales, depth, k, threads, scores, ids);
            });
        },
        py::arg("queries").noconvert(), py::arg("keys").noconvert(), py::arg("k"), py::arg("threads"),
        py::arg("key_scales").noconvert() = py::none());
    m.def(
        "cosine_candidates",
        [](const Floats& queries, const Floats& keys, int k, const Flat<std::int64_t>& indptr,
           const Flat<std::int32_t>& ids, const Flat<std::int32_t>& group, int threads,
           const std::optional<Flat<float>>& key_scales) {
            const Rows q = rows_of(queries), n = rows_of(keys);
            const float* scales = scales_of(key_scales);
            const std::int64_t depth = queries.shape(1);
            const Candidates lists = {indptr.data(), indptr.shape(0) - 1, ids.data(), group.data()};
            return search(queries, k, [&](float* scores, std::int32_t* best) {
                return search_candidates(q, n, scales, depth, k, lists, threads, scores, best);
            });
        },
        py::arg("queries").noconvert(), py::arg("keys").noconvert(), py::arg("k"),
        py::arg("indptr").noconvert(), py::arg("ids").noconvert(), py::arg("group").noconvert(),
        py::arg("threads"), py::arg("key_scales").noconvert() = py::none());
}
