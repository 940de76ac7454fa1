// The arithmetic that kernels share between GPU and host (*.cuh), for the tests: it runs where there is no
// GPU.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "cosine.cuh"
#include "gibbs.cuh"

namespace py = pybind11;

namespace {

namespace cosine = radfast::cosine::device;
namespace gibbs = radfast::gibbs::device;

using Four = std::array<int, 4>;
using Three = std::array<float, 3>;

u32 judge(u64 record, Four without, std::array<float, 4> prior, int own_total, Three inverse,
          Three acceptance, float smoothing) {
    const float concentrations[4] = {prior[0], prior[1], prior[2], prior[3]};
    const i32 counts[4] = {without[0], without[1], without[2], without[3]};
    const float inverses[3] = {inverse[0], inverse[1], inverse[2]};
    const float draws[3] = {acceptance[0], acceptance[1], acceptance[2]};
    return gibbs::judge_token(record, counts, concentrations, own_total, inverses, draws, smoothing);
}

// With `values`, `keep` and `instead` (K,), or empty arrays for `value` everywhere.
py::tuple propose(u64 seed, u64 sweep, u32 step, u64 unit, u32 place, u32 n, u32 n_topics, u32 q, float value,
                  double sum, const py::array_t<float>& values, const py::array_t<u32>& keep,
                  const py::array_t<u32>& instead) {
    const u32 token = gibbs::name_token(place, gibbs::name_stream(seed, sweep, step, unit));
    const gibbs::Prior prior{value, sum, values.size() ? values.data() : nullptr, keep.data(),
                             instead.data()};
    const u32 share = gibbs::share_of_copies(n, prior);
    const gibbs::Proposal drawn = gibbs::draw_proposal(token, q, place, n, share, n_topics, prior);
    return py::make_tuple(drawn.copies, drawn.value);
}

}  // namespace

void bind_device(py::module_& m) {
    py::module_ device = m.def_submodule("device", "Arithmetic of the CUDA kernels, on the host.");
    device.def("gibbs_judge", judge, py::arg("record"), py::arg("without"), py::arg("prior"),
               py::arg("own_total"), py::arg("inverse"), py::arg("acceptance"), py::arg("smoothing"));
    device.def("gibbs_propose", propose, py::arg("seed"), py::arg("sweep"), py::arg("step"), py::arg("unit"),
               py::arg("place"), py::arg("n"), py::arg("n_topics"), py::arg("q"), py::arg("value"),
               py::arg("sum"), py::arg("values"), py::arg("keep"), py::arg("instead"),
               "Returns (copies, place of another token or topic).");
    device.def("cosine_round_to_half", py::vectorize(cosine::round_to_half));
    device.def("cosine_half_to_float", py::vectorize(cosine::half_to_float));
    device.def("cosine_unit_value", py::vectorize([](float x, double norm) {
                   return cosine::unit_value(x, cosine::unit_of(norm));
               }));
    device.def("cosine_offer", py::vectorize(cosine::offer_of));
    device.def("cosine_score_of_offer", py::vectorize(cosine::score_of_offer));
    device.def("cosine_id_of_offer", py::vectorize(cosine::id_of_offer));
    device.def("cosine_bound_loss", py::vectorize(cosine::bound_loss));
    device.def("cosine_error_bound", py::vectorize(cosine::error_bound), py::arg("query_loss"),
               py::arg("key_loss"), py::arg("features"));
}
