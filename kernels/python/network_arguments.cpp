#include "network_arguments.hpp"

#include <nanobind/stl/string.h>

#include <stdexcept>

namespace nb = nanobind;

namespace vp3d::python {

Precision precision_called(const std::string& name) {
  if (name == "fp32") return Precision::fp32;
  if (name == "fp16") return Precision::fp16;
  if (name == "int8") return Precision::int8;
  throw std::invalid_argument("precision " + name + " is not known; choose fp32, fp16 or int8");
}

static ModelSpec spec_from(nb::handle object) {
  const auto number = [object](const char* name) {
    return nb::cast<std::int64_t>(object.attr(name));
  };
  ModelSpec spec;
  for (nb::handle width : object.attr("filter_widths"))
    spec.filter_widths.push_back(nb::cast<std::int64_t>(width));
  spec.channels = number("channels");
  spec.joints_in = number("joints_in");
  spec.features = number("features");
  spec.joints_out = number("joints_out");
  spec.causal = nb::cast<bool>(nb::object(object.attr("causal")));
  return spec;
}

std::string path_from(nb::handle object) {
  PyObject* bytes = nullptr;
  if (!PyUnicode_FSConverter(object.ptr(), &bytes)) throw nb::python_error();
  const nb::object held = nb::steal(bytes);
  return {PyBytes_AsString(bytes), static_cast<std::size_t>(PyBytes_Size(bytes))};
}

std::vector<Network> networks_from(nb::dict networks) {
  std::vector<Network> list;
  for (auto [name, spec] : networks)
    list.push_back({nb::cast<std::string>(name), spec_from(spec)});
  return list;
}

}  // namespace vp3d::python
