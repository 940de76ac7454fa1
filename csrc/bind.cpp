// The module radfast._core: one bind_<kernel>() per kernel, each in a file of its own.
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_cpu(py::module_& m);
void bind_cnn(py::module_& m);
void bind_cosine(py::module_& m);
void bind_device(py::module_& m);
void bind_gibbs(py::module_& m);
void bind_tokenize(py::module_& m);

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled kernels of radfast. Use them through radfast.kernels.";
    bind_cpu(m);
    bind_cnn(m);
    bind_cosine(m);
    bind_device(m);
    bind_gibbs(m);
    bind_tokenize(m);
}
