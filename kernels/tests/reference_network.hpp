// Networks of random weights, their files, and what they answer by definition: dilated
// convolutions as loops in float64, 8-bit layers in whole numbers. Nothing is shared with the
// engine but the names of tensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "safetensors_bytes.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::test {

// A tensor as stored, and as the numbers that this means.
struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
  std::vector<double> values;
};

using Tensors = std::map<std::string, Tensor>;
using Floats = std::vector<float>;

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  double uniform(double low, double high) {
    return low + (high - low) * (engine_() / 4294967296.0);
  }
  std::size_t below(std::size_t limit) { return engine_() % limit; }

 private:
  std::mt19937 engine_;
};

// The bits of the half-precision number nearest to `value`, which is below 65504; what is below
// the smallest normal number becomes zero.
inline std::uint16_t half_bits(double value) {
  int exponent = 0;
  int digits = static_cast<int>(std::lround(std::frexp(std::fabs(value), &exponent) * 2048));
  if (digits == 2048) {
    digits = 1024;
    ++exponent;
  }
  const bool zero = digits == 0 || exponent < -13;
  const int magnitude = zero ? 0 : ((exponent + 14) << 10) + (digits - 1024);
  return static_cast<std::uint16_t>(magnitude | (value < 0 ? 0x8000 : 0));
}

inline double from_half_bits(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, digits = bits & 1023;
  const double magnitude = exponent ? std::ldexp(1024 + digits, exponent - 25) : 0.0;
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <class Stored>
void append(Tensor& tensor, Stored stored, double value) {
  tensor.bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored);
  tensor.values.push_back(value);
}

inline Tensor random_tensor(const std::string& dtype, std::vector<std::int64_t> shape, double low,
                            double high, Random& random) {
  std::int64_t size = 1;
  for (const std::int64_t length : shape) size *= length;
  Tensor tensor{dtype, std::move(shape), "", {}};
  for (std::int64_t i = 0; i < size; ++i) {
    const double value = random.uniform(low, high);
    if (dtype == "F32") append(tensor, static_cast<float>(value), static_cast<float>(value));
    else if (dtype == "F16") append(tensor, half_bits(value), from_half_bits(half_bits(value)));
    else append(tensor, static_cast<std::int8_t>(std::lround(value)), std::lround(value));
  }
  return tensor;
}

// Weights that keep signals from dying or growing from level to level.
inline void add_network(Tensors& tensors, const Network& network, Precision precision,
                        Random& random) {
  const ModelSpec& spec = network.spec;
  const auto layer = [&](const std::string& name, std::int64_t rows, std::int64_t inputs,
                         bool inner) {
    const double reach = std::sqrt(6.0 / static_cast<double>(inputs));
    const bool int8 = inner && precision == Precision::int8;
    const std::string type = inner && precision == Precision::fp16 ? "F16" : "F32";
    const std::string prefix = network.name + "." + name;
    tensors[prefix + ".bias"] = random_tensor(type, {rows}, -0.3, 0.3, random);
    tensors[prefix + ".weight"] = int8
        ? random_tensor("I8", {rows, inputs}, -127, 127, random)
        : random_tensor(type, {rows, inputs}, -reach, reach, random);
    if (!int8) return;
    tensors[prefix + ".scale"] =
        random_tensor("F32", {rows}, 0.5 * reach / 127, 1.5 * reach / 127, random);
    tensors[prefix + ".input_scale"] = random_tensor("F32", {}, 2.0 / 127, 4.0 / 127, random);
  };
  for (std::size_t level = 0; level < spec.filter_widths.size(); ++level) {
    const std::string name = "level" + std::to_string(level);
    const std::int64_t inputs = level ? spec.channels : spec.joints_in * spec.features;
    layer(name + ".conv", spec.channels, spec.filter_widths[level] * inputs, level > 0);
    if (level > 0) layer(name + ".mix", spec.channels, spec.channels, true);
  }
  layer("shrink", spec.joints_out * 3, spec.channels, false);
}

inline Tensors random_tensors(const std::vector<Network>& networks, Precision precision,
                              std::uint32_t seed) {
  Random random(seed);
  Tensors tensors;
  for (const Network& network : networks) add_network(tensors, network, precision, random);
  return tensors;
}

// As vp3d_export writes them: larger types first, so that each is aligned, data from byte 4096 or a
// multiple on.
inline std::string file_of(const Tensors& tensors) {
  std::string header, data;
  for (const char* dtype : {"F32", "F16", "I8"}) {
    for (const auto& [name, tensor] : tensors) {
      if (tensor.dtype != dtype) continue;
      std::string shape;
      for (const std::int64_t length : tensor.shape)
        shape += (shape.empty() ? "" : ",") + std::to_string(length);
      const auto begin = static_cast<std::int64_t>(data.size());
      data += tensor.bytes;
      header += (header.empty() ? "{" : ",") +
                entry(name, dtype, "[" + shape + "]", begin,
                      static_cast<std::int64_t>(data.size()));
    }
  }
  header.resize((header.size() + 8) / 4096 * 4096 + 4096 - 8, ' ');
  header.back() = '}';
  return length_prefix(header.size()) + header + data;
}

// One network on one clip. With `half_inputs`, what layers of half-precision weights read is rounded
// to half precision, as engines on GPUs do.
class Definition {
 public:
  Definition(const Network& network, const Tensors& tensors, bool half_inputs = false)
      : spec_(network.spec), name_(network.name), tensors_(tensors), half_inputs_(half_inputs) {}

  // keypoints (frames, J_in * F) -> (frames-R+1, J_out * 3)
  std::vector<double> operator()(const std::vector<float>& keypoints) const {
    std::vector<double> h(keypoints.begin(), keypoints.end());
    std::int64_t width = spec_.joints_in * spec_.features;
    std::int64_t columns = static_cast<std::int64_t>(h.size()) / width, dilation = 1;
    for (std::size_t level = 0; level < spec_.filter_widths.size(); ++level) {
      const std::int64_t taps = spec_.filter_widths[level];
      const std::int64_t left = columns - (taps - 1) * dilation;
      std::vector<double> next;
      for (std::int64_t column = 0; column < left; ++column) {
        std::vector<double> row;
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          const double* at = &h[static_cast<std::size_t>((column + tap * dilation) * width)];
          row.insert(row.end(), at, at + width);
        }
        const double* skip = row.data() + spec_.residual_tap(level) * width;
        const std::vector<double> answer = level_answer(level, row, skip);
        next.insert(next.end(), answer.begin(), answer.end());
      }
      h = next;
      columns = left;
      width = spec_.channels;
      dilation *= taps;
    }
    std::vector<double> answers;
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto at = h.begin() + column * width;
      const std::vector<double> answer = product("shrink", {at, at + width}, false);
      answers.insert(answers.end(), answer.begin(), answer.end());
    }
    return answers;
  }

 private:
  std::vector<double> level_answer(std::size_t level, const std::vector<double>& row,
                                   const double* skip) const {
    const std::string name = "level" + std::to_string(level);
    std::vector<double> answer = product(name + ".conv", row, true);
    if (level == 0) return answer;
    answer = product(name + ".mix", answer, true);
    for (std::size_t i = 0; i < answer.size(); ++i) answer[i] += skip[i];
    return answer;
  }

  const std::vector<double>& values(const std::string& name) const {
    return tensors_.at(name_ + "." + name).values;
  }

  std::vector<double> product(const std::string& name, std::vector<double> inputs,
                              bool relu) const {
    const std::vector<double>&weights = values(name + ".weight"), &bias = values(name + ".bias");
    const bool int8 = tensors_.at(name_ + "." + name + ".weight").dtype == "I8";
    const double input_scale = int8 ? values(name + ".input_scale")[0] : 1;
    if (int8)  // std::nearbyint rounds halves to even
      for (double& x : inputs) x = std::clamp(std::nearbyint(x / input_scale), 0.0, 127.0);
    if (half_inputs_ && tensors_.at(name_ + "." + name + ".weight").dtype == "F16")
      for (double& x : inputs) x = from_half_bits(half_bits(x));
    std::vector<double> answers;
    for (std::size_t row = 0; row < bias.size(); ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        sum += weights[row * inputs.size() + i] * inputs[i];
      if (int8) sum *= values(name + ".scale")[row] * input_scale;
      answers.push_back(relu ? std::max(sum + bias[row], 0.0) : sum + bias[row]);
    }
    return answers;
  }

  const ModelSpec spec_;
  const std::string name_;
  const Tensors& tensors_;
  const bool half_inputs_;
};

// The window that defines a live answer: the last frame stands for those to come, the first for
// those before the stream began. seen: frames, the newest last.
inline Floats live_window(const ModelSpec& spec, const Floats& seen, std::int64_t lag) {
  const std::int64_t frame = spec.joints_in * spec.features;
  const std::int64_t newest = static_cast<std::int64_t>(seen.size()) / frame - 1;
  const std::int64_t first = newest - lag - (spec.receptive_field() - 1 - spec.lookahead());
  Floats window;
  for (std::int64_t i = 0; i < spec.receptive_field(); ++i) {
    const auto at = seen.begin() + std::clamp<std::int64_t>(first + i, 0, newest) * frame;
    window.insert(window.end(), at, at + frame);
  }
  return window;
}

}  // namespace vp3d::test
