#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>

#include "gibbs.h"
#include "gibbs_fold.h"
#include "gibbs_refine.h"

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

namespace {

using namespace radfast::gibbs;

Corpus view(const Array<int64_t>& indptr, const Array<int32_t>& rows, const Array<int32_t>& document_group,
            const Array<int32_t>& row_group, const Array<int32_t>& totals) {
    return {indptr.data(),
            rows.data(),
            document_group.data(),
            row_group.data(),
            indptr.size() - 1,
            rows.size(),
            static_cast<int32_t>(row_group.size()),
            static_cast<int32_t>(totals.shape(0))};
}

Model view(const Array<double>& alpha, double eta, double smoothing, uint64_t seed,
           const Array<int32_t>& totals) {
    return {static_cast<int32_t>(alpha.size()),
            static_cast<int32_t>(totals.shape(1)),
            alpha.data(),
            eta,
            smoothing,
            seed};
}

// Ends a run of sweeps where Python has a signal to answer (Ctrl-C), and then raises what that raised.
class Signals {
  public:
    bool proceed() {
        py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() == 0) return true;
        raised_ = std::make_exception_ptr(py::error_already_set());
        return false;
    }
    void raise() const {
        if (raised_) std::rethrow_exception(raised_);
    }

  private:
    std::exception_ptr raised_;
};

}  // namespace

void bind_gibbs(py::module_& m) {
    m.def(
        "gibbs_mh",
        [](const Array<int64_t>& indptr, const Array<int32_t>& rows, const Array<int32_t>& document_group,
           const Array<int32_t>& row_group, Array<uint16_t>& topics, Array<int32_t>& word_topic,
           Array<int32_t>& totals, Array<int32_t>& sums, const Array<double>& alpha, double eta,
           double smoothing, uint64_t seed, int64_t first_sweep, int64_t n_sweeps, int threads) {
            const Corpus corpus = view(indptr, rows, document_group, row_group, totals);
            const Model model = view(alpha, eta, smoothing, seed, totals);
            uint16_t* z = topics.mutable_data();
            int32_t *n_wk = word_topic.mutable_data(), *n_k = totals.mutable_data();
            int32_t* sum = sums.size() > 0 ? sums.mutable_data() : nullptr;
            Signals signals;
            {
                py::gil_scoped_release release;
                sample_mh(corpus, model, z, n_wk, n_k, sum, first_sweep, n_sweeps, threads,
                          [&] { return signals.proceed(); });
            }
            signals.raise();
        },
        py::arg("indptr").noconvert(), py::arg("rows").noconvert(), py::arg("document_group").noconvert(),
        py::arg("row_group").noconvert(), py::arg("topics").noconvert(), py::arg("word_topic").noconvert(),
        py::arg("totals").noconvert(), py::arg("sums").noconvert(), py::arg("alpha").noconvert(),
        py::arg("eta"), py::arg("smoothing"), py::arg("seed"), py::arg("first_sweep"), py::arg("n_sweeps"),
        py::arg("threads"),
        "Metropolis-Hastings sweeps in place over topics and all counts; those of words are added to sums "
        "after every sweep unless it is empty.");
    m.def(
        "gibbs_dense",
        [](const Array<int64_t>& indptr, const Array<int32_t>& rows, const Array<int32_t>& document_group,
           const Array<int32_t>& row_group, Array<uint16_t>& topics, Array<int32_t>& word_topic,
           Array<int32_t>& totals, Array<int32_t>& sums, const Array<double>& alpha, double eta,
           double smoothing, uint64_t seed, int64_t first_sweep, int64_t n_sweeps, int64_t first_document,
           bool joining, bool sparse, int threads) {
            const Corpus corpus = view(indptr, rows, document_group, row_group, totals);
            const Model model = view(alpha, eta, smoothing, seed, totals);
            uint16_t* z = topics.mutable_data();
            int32_t *n_wk = word_topic.mutable_data(), *n_k = totals.mutable_data();
            int32_t* sum = sums.size() > 0 ? sums.mutable_data() : nullptr;
            Signals signals;
            {
                py::gil_scoped_release release;
                sample_dense(corpus, model, z, n_wk, n_k, sum, first_sweep, n_sweeps, first_document, joining,
                             sparse, threads, [&] { return signals.proceed(); });
            }
            signals.raise();
        },
        py::arg("indptr").noconvert(), py::arg("rows").noconvert(), py::arg("document_group").noconvert(),
        py::arg("row_group").noconvert(), py::arg("topics").noconvert(), py::arg("word_topic").noconvert(),
        py::arg("totals").noconvert(), py::arg("sums").noconvert(), py::arg("alpha").noconvert(),
        py::arg("eta"), py::arg("smoothing"), py::arg("seed"), py::arg("first_sweep"), py::arg("n_sweeps"),
        py::arg("first_document"), py::arg("joining"), py::arg("sparse"), py::arg("threads"),
        "Dense or sparse sweeps in place over topics and all counts; sums as in gibbs_mh.");
    m.def(
        "gibbs_refine",
        [](const Array<int64_t>& indptr, const Array<int32_t>& rows, const Array<int32_t>& document_group,
           const Array<int32_t>& row_group, const Array<uint16_t>& topics, const Array<int32_t>& totals,
           Array<float>& expected, const Array<double>& alpha, double eta, double smoothing, int64_t n_rounds,
           int threads) {
            const Corpus corpus = view(indptr, rows, document_group, row_group, totals);
            const Model model = view(alpha, eta, smoothing, 0, totals);
            float* counts = expected.mutable_data();
            py::gil_scoped_release release;
            refine(corpus, model, topics.data(), counts, n_rounds, threads);
        },
        py::arg("indptr").noconvert(), py::arg("rows").noconvert(), py::arg("document_group").noconvert(),
        py::arg("row_group").noconvert(), py::arg("topics").noconvert(), py::arg("totals").noconvert(),
        py::arg("expected").noconvert(), py::arg("alpha").noconvert(), py::arg("eta"), py::arg("smoothing"),
        py::arg("n_rounds"), py::arg("threads"), "Rounds of gibbs_refine.h, in place over expected.");
    m.def(
        "gibbs_fold_in",
        [](const Array<int64_t>& indptr, const Array<int32_t>& rows, const py::array_t<float>& phi,
           const Array<double>& alpha, int64_t n_iterations, double tolerance, int threads) {
            py::array_t<float> theta({indptr.size() - 1, phi.shape(1)});
            const auto step = [&](int axis) {
                return phi.strides(axis) / static_cast<int64_t>(sizeof(float));
            };
            const FoldIn job{indptr.data(),
                             rows.data(),
                             indptr.size() - 1,
                             phi.data(),
                             step(0),
                             step(1),
                             static_cast<int32_t>(phi.shape(0)),
                             static_cast<int32_t>(phi.shape(1)),
                             alpha.data(),
                             n_iterations,
                             tolerance,
                             theta.mutable_data()};
            int64_t bad;
            {
                py::gil_scoped_release release;
                bad = fold_in(job, threads);
            }
            return py::make_tuple(theta, bad);
        },
        py::arg("indptr").noconvert(), py::arg("rows").noconvert(), py::arg("phi").noconvert(),
        py::arg("alpha").noconvert(), py::arg("n_iterations"), py::arg("tolerance"), py::arg("threads"),
        "(topic shares, -1), or (undefined, a row whose phi has no finite sum above 0).");
}
