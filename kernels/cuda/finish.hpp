// From sums to outputs, for kernels that finish several rows of a column at once: bias, ReLU,
// residual, and what the next layers read.
#pragma once

#include "product.hpp"

namespace vp3d::cuda {

// Numbers that are loaded and stored at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T of[n];
};

// What all columns of a product share.
struct Finish {
  const float *bias, *scale;  // scale: null but of 8-bit weights
  std::int64_t rows;          // those to be written; of dense columns there are no more
  bool relu, adds, dense;     // adds: a residual; dense: answers, one column right behind the other
  Number narrow;
  float quantum;
};

// Bias and scale of the rows that a lane finishes.
template <int n>
struct RowFinish {
  Pack<float, n> bias, scale;

  VP3D_HD void load(const Finish& finish, std::int64_t row) {
#ifndef __CUDA_ARCH__
    scale = {};  // not read where there is none, which gcc does not see
#endif
    if (row >= finish.rows) return;
    bias = *reinterpret_cast<const Pack<float, n>*>(finish.bias + row);
    if (finish.scale != nullptr)
      scale = *reinterpret_cast<const Pack<float, n>*>(finish.scale + row);
  }
};

VP3D_HD float relu(float value) {
  return value > 0.0F || value != value ? value : 0.0F;  // hands NaN on
}

template <int n>
VP3D_HD void store_narrow_pack(std::byte* column, std::int64_t row, const Pack<float, n>& values,
                               const Finish& finish) {
  if (finish.narrow == Number::f16) {
    Pack<std::uint16_t, n> halves;
    for (int i = 0; i < n; ++i) halves.of[i] = float_to_half(values.of[i]);
    *reinterpret_cast<Pack<std::uint16_t, n>*>(column + row * 2) = halves;
  } else {
    Pack<std::int8_t, n> bytes;
    for (int i = 0; i < n; ++i) bytes.of[i] = quantise(values.of[i], finish.quantum);
    *reinterpret_cast<Pack<std::int8_t, n>*>(column + row) = bytes;
  }
}

template <int n>
VP3D_HD Pack<float, n> residual_of(const Outputs& outputs, std::int64_t row) {
  return *reinterpret_cast<const Pack<float, n>*>(outputs.residual + row);
}

// Outputs row .. row+n-1 of one column, where there are such rows. Columns that are not dense have
// room up to the next multiple of n, which gets zeros: weights, bias and residual are zeros there.
template <int n, class Sum>
VP3D_HD void finish_outputs(const Finish& finish, const RowFinish<n>& rows, const Outputs& outputs,
                            std::int64_t row, const Pack<Sum, n>& sums,
                            const Pack<float, n>& residual) {
  Pack<float, n> values;
  for (int i = 0; i < n; ++i) {
    values.of[i] = static_cast<float>(sums.of[i]);
    if (finish.scale != nullptr) values.of[i] *= rows.scale.of[i];
    values.of[i] += rows.bias.of[i];
    if (finish.relu) values.of[i] = relu(values.of[i]);
    if (finish.adds) values.of[i] += residual.of[i];
  }
  if (finish.dense) {
    for (int i = 0; i < n; ++i)
      if (row + i < finish.rows) outputs.wide[row + i] = values.of[i];
    return;
  }
  if (outputs.wide != nullptr)
    *reinterpret_cast<Pack<float, n>*>(outputs.wide + row) = values;
  if (outputs.narrow != nullptr) store_narrow_pack(outputs.narrow, row, values, finish);
}

}  // namespace vp3d::cuda
