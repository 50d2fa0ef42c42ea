#include "network_arguments.hpp"

#include <nanobind/stl/string.h>

#include <stdexcept>

#include "arrays.hpp"

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

cuda::Processing processing_from(nb::handle object) {
  cuda::Processing processing;
  if (object.is_none()) return processing;
  processing.joints_seen = nb::cast<std::int32_t>(object.attr("joints_seen"));
  processing.add_trajectory = nb::cast<bool>(object.attr("add_trajectory"));
  processing.to_world = nb::cast<bool>(object.attr("to_world"));
  const Array joints(object.attr("joints"), "joints", Array::Access::read, Array::Type::int32);
  const Array shares(object.attr("shares"), "shares", Array::Access::read);
  if (!joints.fits({-1, -1}) || !shares.fits(joints.shape()))
    throw std::invalid_argument("joints " + text_of(joints.shape()) + " and shares " +
                                text_of(shares.shape()) + " differ in shape");
  const auto count = static_cast<std::size_t>(joints.axis(0) * joints.axis(1));
  processing.parts = static_cast<std::int32_t>(joints.axis(1));
  processing.joints.assign(joints.as<const std::int32_t>(),
                           joints.as<const std::int32_t>() + count);
  processing.shares.assign(shares.data(), shares.data() + count);
  return processing;
}

}  // namespace vp3d::python
