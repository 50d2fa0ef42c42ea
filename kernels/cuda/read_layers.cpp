#include "read_layers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace vp3d::cuda {
namespace {

Number number_type(cpu::DType type) {
  return type == cpu::DType::f32 ? Number::f32 : type == cpu::DType::f16 ? Number::f16 : Number::i8;
}

class Reader {
 public:
  Reader(const cpu::SafetensorsFile& file, Precision precision)
      : file_(file), precision_(precision) {}

  Layer layer(const std::string& name, std::int64_t rows, std::int64_t taps, std::int64_t inputs,
              bool inner) const {
    const cpu::TensorView& weight = file_.tensor(name + ".weight", {rows, taps * inputs});
    check_type(name, number_type(weight.dtype), inner);
    Layer layer{number_type(weight.dtype),           rows, taps, inputs, weight.data,
                floats(name + ".bias", {rows}), {},   1.0F};
    if (layer.type == Number::i8) read_scales(name, layer);
    return layer;
  }

 private:
  [[noreturn]] void refuse(const std::string& tensor, const std::string& why) const {
    throw WeightsError(file_.path() + ": tensor \"" + tensor + "\" " + why);
  }

  void read_scales(const std::string& name, Layer& layer) const {
    constexpr std::int64_t kMostInputs = std::numeric_limits<std::int32_t>::max() / (127 * 128);
    if (layer.taps * layer.inputs > kMostInputs)
      refuse(name + ".weight", "has rows of " + std::to_string(layer.taps * layer.inputs) +
                                   " inputs; 32-bit sums of 8-bit products hold " +
                                   std::to_string(kMostInputs) + ", export it with fp16");
    layer.input_scale = floats(name + ".input_scale", {})[0];
    if (!(layer.input_scale > 0.0F)) refuse(name + ".input_scale", "must be positive");
    layer.scale = floats(name + ".scale", {layer.rows});
    for (float& scale : layer.scale) scale *= layer.input_scale;
  }

  std::vector<float> floats(const std::string& name, const std::vector<std::int64_t>& shape) const {
    const cpu::TensorView& view = file_.tensor(name, shape);
    std::vector<float> values(static_cast<std::size_t>(view.size()));
    if (view.dtype == cpu::DType::f32) {
      std::memcpy(values.data(), view.data, values.size() * sizeof(float));
    } else if (view.dtype == cpu::DType::f16) {  // biases of half-precision layers
      const auto* halves = reinterpret_cast<const std::uint16_t*>(view.data);
      std::transform(halves, halves + values.size(), values.begin(), half_to_float);
    } else {
      refuse(name, "must be F32 or F16");
    }
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
      refuse(name, "has a value that is not a finite number");
    return values;
  }

  void check_type(const std::string& name, Number type, bool inner) const {
    const Number wanted = !inner || precision_ == Precision::fp32 ? Number::f32
                          : precision_ == Precision::fp16         ? Number::f16
                                                                  : Number::i8;
    // Single layers may be kept in a finer type than the others.
    if (type != wanted && (type != Number::f32 || !inner))
      refuse(name + ".weight", "is of another type than weights of this precision");
  }

  const cpu::SafetensorsFile& file_;
  const Precision precision_;
};

}  // namespace

std::vector<Layer> read_layers(const cpu::SafetensorsFile& file, const Network& network,
                               Precision precision) {
  const ModelSpec& spec = network.spec;
  const Reader reader(file, precision);
  std::vector<Layer> layers;
  for (std::size_t level = 0; level < spec.filter_widths.size(); ++level) {
    const std::string name = network.name + ".level" + std::to_string(level);
    const std::int64_t inputs = level > 0 ? spec.channels : spec.joints_in * spec.features;
    layers.push_back(reader.layer(name + ".conv", spec.channels, spec.filter_widths[level], inputs,
                                  level > 0));
    if (level > 0)
      layers.push_back(reader.layer(name + ".mix", spec.channels, 1, spec.channels, true));
  }
  layers.push_back(
      reader.layer(network.name + ".shrink", spec.joints_out * 3, 1, spec.channels, false));
  return layers;
}

}  // namespace vp3d::cuda
