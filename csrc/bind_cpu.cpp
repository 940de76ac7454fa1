#include <pybind11/pybind11.h>

#include <string>

#include "cpu.h"

namespace py = pybind11;

void bind_cpu(py::module_& m) {
    using namespace radfast;
    m.def(
        "simd", [] { return std::string(name_of(current_simd())); },
        "Instruction set that kernels use now: 'portable', 'avx2' or 'avx512'.");
    m.def(
        "lower_simd",
        [](const std::string& wanted) {
            return std::string(name_of(lower_simd(simd_named(wanted, "lower_simd"))));
        },
        py::arg("wanted"), "Limits kernels to `wanted`; returns the set now in use. For tests.");
}
