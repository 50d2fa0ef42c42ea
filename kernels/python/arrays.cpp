#include "arrays.hpp"

#include <cstring>
#include <utility>

namespace nb = nanobind;

namespace vp3d::python {
namespace {

// "float64", or for arrays of other libraries their code for it.
std::string dtype_of(nb::handle object, const Py_buffer& view) {
  const nb::object dtype = nb::getattr(object, "dtype", nb::none());
  if (!dtype.is_none()) return nb::str(dtype).c_str();
  return view.format == nullptr ? "bytes" : std::string("format ") + view.format;
}

// As Python's struct module names it, and as NumPy does.
struct Wanted {
  const char *format, *name;
  std::size_t alignment;
};

Wanted wanted_of(Array::Type type) {
  if (type == Array::Type::int32) return {"i", "int32", alignof(std::int32_t)};
  if (type == Array::Type::uint32) return {"I", "uint32", alignof(std::uint32_t)};
  if (type == Array::Type::uint8) return {"B", "uint8", 1};
  return {"f", "float32", alignof(float)};
}

std::string problem_with(nb::handle object, const Py_buffer& view, Array::Access access,
                         const Wanted& wanted) {
  // NumPy says "=f" of float32 that is not aligned.
  const char* format = view.format == nullptr ? "" : view.format;
  if (std::strcmp(format + (format[0] == '='), wanted.format) != 0)
    return "are " + dtype_of(object, view) + "; expected " + wanted.name;
  if (!PyBuffer_IsContiguous(&view, 'C'))
    return "are not C-contiguous; pass numpy.ascontiguousarray(...)";
  if (reinterpret_cast<std::uintptr_t>(view.buf) % wanted.alignment != 0)
    return std::string("are not aligned to ") + wanted.name + "; pass a copy";
  if (access == Array::Access::write && view.readonly) return "cannot be written to";
  return "";
}

}  // namespace

std::string text_of(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + (shape[axis] < 0 ? "*" : std::to_string(shape[axis]));
  return text + (shape.size() == 1 ? ",)" : ")");
}

Array::Array(nb::handle object, const char* name, Access access, Type type) {
  // PyBUF_RECORDS_RO asks for nothing that an array cannot give, so that the refusal can be ours.
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_RECORDS_RO) != 0) {
    PyErr_Clear();
    const std::string type = nb::type_name(object.type()).c_str();
    throw nb::value_error((std::string(name) + ": expected a NumPy array, not " + type).c_str());
  }
  const std::string problem = problem_with(object, view_, access, wanted_of(type));
  if (problem.empty()) return;
  PyBuffer_Release(&view_);
  throw nb::value_error((std::string(name) + " " + problem).c_str());
}

Array::~Array() { PyBuffer_Release(&view_); }

Array::Array(Array&& other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}

Shape Array::shape() const { return {view_.shape, view_.shape + view_.ndim}; }

bool Array::fits(const Shape& expected) const {
  if (static_cast<std::size_t>(view_.ndim) != expected.size()) return false;
  for (std::size_t axis = 0; axis < expected.size(); ++axis)
    if (expected[axis] >= 0 && expected[axis] != view_.shape[axis]) return false;
  return true;
}

}  // namespace vp3d::python
