// The Python module vp3d_deploy._native; vp3d_deploy/_native.pyi says what it offers.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "bindings.hpp"
#include "cuda_bindings.hpp"
#include "measure.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using vp3d::python::PyEngine;
using vp3d::python::PyStream;

namespace {

// Messages may hold paths, which need not be UTF-8: these get U+FFFD instead of a second exception.
void set_error(PyObject* type, const char* message) {
  const nb::object text = nb::steal(PyUnicode_DecodeUTF8(
      message, static_cast<Py_ssize_t>(std::strlen(message)), "replace"));
  if (text.is_valid()) PyErr_SetObject(type, text.ptr());
}

void bind_errors(nb::module_& module) {
  PyObject* type = PyErr_NewException("vp3d_deploy._native.WeightsError", PyExc_ValueError, nullptr);
  if (type == nullptr) throw nb::python_error();
  module.attr("WeightsError") = nb::steal(type);
  // `payload` is the type, which the module keeps.
  nb::register_exception_translator(
      [](const std::exception_ptr& error, void* payload) {
        try {
          std::rethrow_exception(error);
        } catch (const vp3d::WeightsError& problem) {
          set_error(static_cast<PyObject*>(payload), problem.what());
        }
      },
      type);
}

void bind_engine(nb::module_& module) {
  nb::class_<PyEngine>(module, "Engine")
      .def(nb::init<nb::handle, nb::dict, const std::string&, int, bool, const std::string&>(),
           "weights"_a, "networks"_a, "precision"_a, nb::kw_only(), "threads"_a = 0,
           "pin_threads"_a = false, "isa"_a = "auto")
      .def_prop_ro("isa", &PyEngine::isa)
      .def_prop_ro("threads", &PyEngine::threads)
      .def_prop_ro("weight_bytes", &PyEngine::weight_bytes)
      .def("window", &PyEngine::window, "keypoints"_a, "answers"_a)
      .def("sequence", &PyEngine::sequence, "keypoints"_a, "answers"_a)
      .def("open_stream", &PyEngine::open_stream, "lag"_a)
      .def("close", &PyEngine::close);
}

void bind_stream(nb::module_& module) {
  nb::class_<PyStream>(module, "Stream")
      .def_prop_ro("n_rows", &PyStream::n_rows)
      .def_prop_ro("lag", &PyStream::lag)
      .def_prop_ro("bytes_per_row", &PyStream::bytes_per_row)
      .def("add_rows", &PyStream::add_rows, "count"_a)
      .def("remove_rows", &PyStream::remove_rows, "rows"_a)
      .def("step", &PyStream::step, "keypoints"_a, "answers"_a)
      .def("prepare", &PyStream::prepare)
      .def("close", &PyStream::close);
}

void bind_measures(nb::module_& module) {
  using vp3d::cpu::MemoryReader;
  nb::class_<MemoryReader>(module, "MemoryReader")
      .def(nb::init<std::int64_t, int>(), "n_bytes"_a, "threads"_a,
           nb::call_guard<nb::gil_scoped_release>())
      .def("read", &MemoryReader::read, nb::call_guard<nb::gil_scoped_release>());
  module.def("multiply_add_rates", &vp3d::cpu::multiply_add_rates, "kind"_a, "threads"_a,
             nb::call_guard<nb::gil_scoped_release>());
  module.def("available_isas", &vp3d::available_isas);
}

}  // namespace

NB_MODULE(_native, module) {
  bind_errors(module);
  bind_stream(module);
  bind_engine(module);
  bind_measures(module);
  vp3d::python::bind_cuda(module);
}
