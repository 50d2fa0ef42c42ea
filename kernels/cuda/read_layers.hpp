// The layers of a network as a weights file holds them, in the order in which a frame uses them.
#pragma once

#include <vector>

#include "program.hpp"
#include "safetensors.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::cuda {

struct Layer {
  Number type = Number::f32;
  std::int64_t rows = 0, taps = 1, inputs = 0;  // inputs of each tap
  const std::byte* weights = nullptr;           // (rows, taps * inputs), within the mapped file
  std::vector<float> bias;
  std::vector<float> scale;   // for i8: of the weights times that of the inputs
  float input_scale = 1.0F;
};

// Level 0, then convolution and mix of each level, then shrink. Throws WeightsError.
std::vector<Layer> read_layers(const cpu::SafetensorsFile& file, const Network& network,
                               Precision precision);

}  // namespace vp3d::cuda
