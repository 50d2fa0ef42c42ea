// What a program does with files from strangers, for the mutation test and the fuzzers. Returns
// whether the file was taken; anything but the documented exceptions ends the process.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "safetensors.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::test {

// Read every byte of every tensor.
inline bool exercise_safetensors(const std::string& path) {
  try {
    const cpu::SafetensorsFile file(path);
    [[maybe_unused]] volatile unsigned sum = 0;
    for (const std::string& name : file.names()) {
      try {
        const cpu::TensorView& tensor = file.tensor(name);
        const std::int64_t width = tensor.dtype == cpu::DType::f32   ? 4
                                   : tensor.dtype == cpu::DType::f16 ? 2
                                                                     : 1;
        for (std::int64_t i = 0; i < tensor.size() * width; ++i)
          sum = sum + std::to_integer<unsigned>(tensor.data[i]);
      } catch (const WeightsError&) {  // of another type
      }
    }
    return true;
  } catch (const WeightsError&) {
    return false;
  }
}

// Open an engine on the weights, and take a frame.
inline bool exercise_engine(const std::string& path, const Network& network, Precision precision) {
  try {
    EngineOptions options;
    options.threads = 1;
    Engine engine(path, {network}, precision, options);
    Stream stream = engine.open_stream(0);
    stream.add_rows(1);
    const ModelSpec& spec = network.spec;
    const std::vector<float> frame(static_cast<std::size_t>(spec.joints_in * spec.features), 0.5F);
    std::vector<float> pose(static_cast<std::size_t>(spec.joints_out * 3));
    stream.step(frame.data(), {pose.data()});
    stream.prepare();
    stream.step(frame.data(), {pose.data()});
    return true;
  } catch (const WeightsError&) {
    return false;
  }
}

inline std::size_t depth_of(const cpu::json::Value& value) {
  std::size_t deepest = 0;
  if (value.kind() == cpu::json::Kind::array)
    for (const auto& item : value.array()) deepest = std::max(deepest, depth_of(item));
  if (value.kind() == cpu::json::Kind::object)
    for (const auto& member : value.object()) deepest = std::max(deepest, depth_of(member.value));
  return deepest + 1;
}

inline bool exercise_json(std::string_view text) {
  try {
    return depth_of(cpu::json::parse(text)) > 0;
  } catch (const cpu::json::Error&) {
    return false;
  }
}

}  // namespace vp3d::test
