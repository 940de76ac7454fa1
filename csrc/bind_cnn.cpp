#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "cnn.h"
#include "cnn_prepare.h"

namespace py = pybind11;

namespace {

using namespace radfast::cnn;
template <typename T>
using Flat = py::array_t<T, py::array::c_style>;

Pixel pixel_of(const py::array& pictures) {
    if (py::isinstance<py::array_t<std::uint8_t>>(pictures)) return Pixel::u8;
    if (py::isinstance<py::array_t<std::uint16_t>>(pictures)) return Pixel::u16;
    if (py::isinstance<py::array_t<float>>(pictures)) return Pixel::f32;
    throw py::type_error("pictures must be uint8, uint16 or float32");
}

Flat<float> run(Network& net, const py::array& pictures) {
    const Shape& shape = net.picture();
    if (pictures.ndim() != 4 || !(pictures.flags() & py::array::c_style) ||
        pictures.shape(0) > net.max_batch() || pictures.shape(1) != shape.channels ||
        pictures.shape(2) != shape.height || pictures.shape(3) != shape.width) {
        throw py::value_error(
            "pictures must be (N, C, H, W) of the network, contiguous, N at most max_batch");
    }
    const Pictures from = {pictures.data(), pixel_of(pictures)};
    const auto images = static_cast<int>(pictures.shape(0));
    Flat<float> out({pictures.shape(0), static_cast<py::ssize_t>(net.shape().channels)});
    float* to = out.mutable_data();
    {
        py::gil_scoped_release unlocked;
        net.run(from, images, to);
    }
    return out;
}

Stored stored_type_of(const py::array& pictures) {
    if (py::isinstance<py::array_t<std::uint8_t>>(pictures)) return Stored::u8;
    if (py::isinstance<py::array_t<std::uint16_t>>(pictures)) return Stored::u16;
    if (py::isinstance<py::array_t<std::int16_t>>(pictures)) return Stored::i16;
    throw py::type_error("pictures must be uint8, uint16 or int16");
}

Flat<std::uint8_t> prepare_pictures(const py::array& pictures, int side, int crop, double low, double high,
                                    int threads) {
    const bool flat = pictures.ndim() == 4 && (pictures.flags() & py::array::c_style);
    if (!flat || pictures.shape(2) < 1 || pictures.shape(3) < 1 || crop < 1 || crop > side || !(low < high)) {
        throw py::value_error("pictures must be (N, C, H, W), contiguous; crop at most side; low below high");
    }
    const Preparation how = {
        static_cast<int>(pictures.shape(2)), static_cast<int>(pictures.shape(3)), side, crop, low, high};
    const Stored type = stored_type_of(pictures);
    Flat<std::uint8_t> out({pictures.shape(0), pictures.shape(1), py::ssize_t{crop}, py::ssize_t{crop}});
    std::uint8_t* to = out.mutable_data();
    {
        py::gil_scoped_release unlocked;
        prepare(how, pictures.data(), type, pictures.shape(0) * pictures.shape(1), threads, to);
    }
    return out;
}

void expect(bool fits, const char* what) {
    if (!fits) throw py::value_error(what);
}

}  // namespace

void bind_cnn(py::module_& m) {
    m.def("prepare_pictures", &prepare_pictures, py::arg("pictures"), py::arg("side"), py::arg("crop"),
          py::arg("low"), py::arg("high"), py::arg("threads"));
    py::class_<Network>(m, "NativeNetwork")
        .def(py::init([](int channels, int height, int width, int max_batch, int threads) {
                 return std::make_unique<Network>(Shape{channels, height, width}, max_batch, threads);
             }),
             py::arg("channels"), py::arg("height"), py::arg("width"), py::arg("max_batch"),
             py::arg("threads"))
        .def(
            "add_first",
            [](Network& net, const Flat<float>& weight, const Flat<double>& constant, const Flat<float>& bias,
               int stride, int padding, bool relu) {
                const auto out = static_cast<int>(bias.size()), size = static_cast<int>(constant.shape(2));
                expect(weight.size() == py::ssize_t{1} * out * net.picture().channels * size * size &&
                           constant.size() == py::ssize_t{1} * out * size * size,
                       "weight, constant and bias do not fit together");
                py::gil_scoped_release unlocked;
                net.add_first(out, size, stride, padding, weight.data(), constant.data(), bias.data(), relu);
            },
            py::arg("weight").noconvert(), py::arg("constant").noconvert(), py::arg("bias").noconvert(),
            py::arg("stride"), py::arg("padding"), py::arg("relu"))
        .def(
            "add_conv",
            [](Network& net, const Flat<float>& weight, const Flat<float>& bias, int padding, bool relu,
               bool pool) {
                const auto out = static_cast<int>(bias.size()), size = static_cast<int>(weight.shape(3));
                expect(weight.size() == py::ssize_t{1} * out * net.shape().channels * size * size,
                       "weight and bias do not fit together");
                py::gil_scoped_release unlocked;
                net.add_conv(out, size, padding, weight.data(), bias.data(), relu, pool);
            },
            py::arg("weight").noconvert(), py::arg("bias").noconvert(), py::arg("padding"), py::arg("relu"),
            py::arg("pool"))
        .def("add_pool", &Network::add_pool, py::arg("size"), py::arg("stride"))
        .def("add_mean", &Network::add_mean, py::arg("cells"))
        .def(
            "add_linear",
            [](Network& net, const Flat<float>& weight, const Flat<float>& bias, bool relu) {
                const auto out = static_cast<int>(bias.size());
                expect(weight.size() == out * net.shape().channels * net.shape().pixels(),
                       "weight and bias do not fit together");
                py::gil_scoped_release unlocked;
                net.add_linear(out, weight.data(), bias.data(), relu);
            },
            py::arg("weight").noconvert(), py::arg("bias").noconvert(), py::arg("relu"))
        .def("finish", &Network::finish, py::call_guard<py::gil_scoped_release>())
        .def("run", &run, py::arg("pictures"))
        .def_property_readonly("weight_bytes", &Network::weight_bytes)
        .def_property_readonly("work_bytes", &Network::work_bytes);
}
