// What follows the sums of a product: bias, ReLU, residual, and rounding for an 8-bit layer.
#pragma once

#include "layer.hpp"
#include "unroll.hpp"

namespace vp3d::cpu {

// The sums of one panel for N columns, in registers; S is an instruction set (simd_*.hpp).
template <class S, int N>
struct FloatSums {
  typename S::Float at[N][S::kVectors];
};

template <class S, int N>
struct IntSums {
  typename S::Int at[N][S::kVectors];
};

// Writes rows `row`.. of columns `column`.. of the call.
template <class S, int N>
VP3D_INLINE void finish(const LayerCall& call, std::int64_t row, std::int64_t column,
                        const FloatSums<S, N>& sums) {
  const PackedLayer& layer = *call.layer;
  unroll<N>([&](auto n) {
    const std::int64_t c = column + n;
    unroll<S::kVectors>([&](auto v) {
      const std::int64_t r = row + v * S::kLanes;
      typename S::Float value = S::add(sums.at[n][v], S::load(layer.bias + r));
      if (layer.relu) value = S::relu(value);
      if (call.residuals != nullptr) value = S::add(value, S::load(call.residuals[c] + r));
      if (call.outputs != nullptr) S::store(call.outputs[c] + r, value);
      if (call.quantised != nullptr) {
        // A true division, as the definition has it: a reciprocal rounds some values elsewhere.
        S::store_quantised(call.quantised[c] + r, S::divide(value, S::broadcast(&call.quantum)));
      }
    });
  });
}

}  // namespace vp3d::cpu
