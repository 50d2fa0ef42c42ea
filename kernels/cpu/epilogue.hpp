// What follows the sums of a product: bias, ReLU, residual, and rounding for an 8-bit layer.
#pragma once

#include "layer.hpp"
#include "unroll.hpp"

namespace vp3d::cpu {

// Writes rows `row`.. of one column of the call; S is an instruction set (simd_*.hpp).
template <class S>
VP3D_INLINE void write_outputs(const LayerCall& call, std::int64_t row, std::int64_t column,
                               typename S::Float value) {
  const PackedLayer& layer = *call.layer;
  value = S::add(value, S::load(layer.bias + row));
  if (layer.relu) value = S::relu(value);
  if (call.residuals != nullptr) value = S::add(value, S::load(call.residuals[column] + row));
  if (call.outputs != nullptr) S::store(call.outputs[column] + row, value);
  if (call.quantised != nullptr) {
    // A true division, as the definition has it: a reciprocal rounds some values elsewhere.
    S::store_quantised(call.quantised[column] + row, S::divide(value, S::broadcast(&call.quantum)));
  }
}

}  // namespace vp3d::cpu
