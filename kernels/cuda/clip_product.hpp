// The layers of windows and sequences: one tile of one product by one block, for host and device.
//
// Bodies are those of one warp of a block, as the device runs them: a Warp has `lanes(f)`, PerLane
// and multiply_add as in product.hpp, and also `barrier()` of its block, shared memory by offsets,
// and copies to it that land between their issue and `await_copies`, and that other warps see after
// a barrier behind that (device.cuh, and kernels/tests/simulated_clip.hpp).
#pragma once

#include "clip.hpp"
#include "product.hpp"

namespace vp3d::cuda {

// Columns and rows of a block, and of each of its warps.
template <Number number, int block_columns, int block_rows, int warp_columns, int warp_rows>
struct ClipTile {
  static constexpr Number type = number;
  static constexpr int columns = block_columns, rows = block_rows;
  static constexpr int along = warp_columns, across = warp_rows;
  static constexpr int warps_across = rows / across;
  static constexpr int warps = columns / along * warps_across;
  // Fragments of a step, those of the columns first, and how many of each a warp copies.
  static constexpr int column_fragments = columns / kTileRows, row_fragments = rows / kTileRows;
  static constexpr int own_columns = column_fragments / warps, own_rows = row_fragments / warps;
  static constexpr int stage_bytes = (column_fragments + row_fragments) * kFragmentBytes;
  static_assert(own_columns * warps == column_fragments && own_rows * warps == row_fragments,
                "each warp copies as much as the others");
  static_assert(along % 16 == 0 && across % 16 == 0, "pairs of fragments, for mma and clip_row");
};

// Numbers that are loaded and stored at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T of[n];
};

VP3D_HD const ClipProduct& product_of(const ClipArguments& arguments, int block) {
  return arguments.products[block < arguments.products[0].blocks ? 0 : 1];
}

// The block's number among those of its product.
VP3D_HD int own_block(const ClipArguments& arguments, int block) {
  const int first = arguments.products[0].blocks;
  return block < first ? block : block - first;
}

VP3D_HD const std::byte* columns_below(const ClipArguments& arguments, const ClipProduct& product) {
  return (product.source == ClipSource::input ? arguments.input : arguments.workspace) +
         product.below;
}

// Where a lane finds its 16 bytes of a column's first step.
VP3D_HD const std::byte* column_start(const std::byte* below, const ClipProduct& product,
                                      std::int64_t column, int lane) {
  return below + place_below(product.reach, column) * product.below_bytes + input_offset(lane);
}

// Steps along a product's inputs, one after another or every n-th.
class Walk {
 public:
  VP3D_HD explicit Walk(const ClipProduct& product) : product_(product) {}

  VP3D_HD void advance(int steps) {
    step_ += steps;
    in_tap_ += steps;
    for (; in_tap_ >= product_.tap_steps; in_tap_ -= product_.tap_steps)
      tap_ += static_cast<std::int64_t>(product_.spacing) * product_.below_bytes;
  }
  VP3D_HD bool ended() const { return step_ >= product_.taps * product_.tap_steps; }
  VP3D_HD std::int64_t weights() const { return static_cast<std::int64_t>(step_) * kFragmentBytes; }
  VP3D_HD std::int64_t inputs() const { return tap_ + in_tap_ * kStepBytes; }
  // Of a dense column, how many of a lane's four numbers there are.
  VP3D_HD int dense(int lane) const {
    const int left = product_.dense_inputs - in_tap_ * 16 - lane_quarter(lane) * 4;
    return left > 4 ? 4 : left;
  }

 private:
  const ClipProduct& product_;
  std::int64_t tap_ = 0;
  int step_ = 0, in_tap_ = 0;
};

// Outputs row .. row+n-1 of one column: bias, ReLU, residual, and what the next layers read.
template <int n, class Sum>
VP3D_HD void finish_outputs(const ClipArguments& arguments, const ClipProduct& product,
                            std::int64_t column, std::int64_t row, const Sum (&sums)[n]) {
  using Floats = Pack<float, n>;
  const auto at = [row](const std::byte* floats) {
    return *reinterpret_cast<const Floats*>(floats + row * 4);
  };
  Floats values;
  const Floats bias = at(arguments.image + product.bias);
  for (int i = 0; i < n; ++i) values.of[i] = static_cast<float>(sums[i]);
  if (product.scale >= 0) {
    const Floats scale = at(arguments.image + product.scale);
    for (int i = 0; i < n; ++i) values.of[i] *= scale.of[i];
  }
  for (int i = 0; i < n; ++i) {
    float& value = values.of[i];
    value += bias.of[i];
    if (product.relu != 0) value = value > 0.0F || value != value ? value : 0.0F;
  }
  if (product.residual >= 0) {
    const Floats residual =
        at(arguments.workspace + product.residual +
           place_below(product.residual_reach, column) * product.residual_bytes);
    for (int i = 0; i < n; ++i) values.of[i] += residual.of[i];
  }
  if (product.answer >= 0) {
    std::byte* all = product.answers_inside != 0 ? arguments.workspace
                                                 : reinterpret_cast<std::byte*>(arguments.answers);
    float* answer = reinterpret_cast<float*>(all + product.answer) + column * product.rows;
    for (int i = 0; i < n; ++i)
      if (row + i < product.rows) answer[row + i] = values.of[i];
    return;
  }
  if (product.wide >= 0)
    *reinterpret_cast<Floats*>(arguments.workspace + product.wide + column * product.wide_bytes +
                               row * 4) = values;
  if (product.narrow < 0) return;
  std::byte* narrow = arguments.workspace + product.narrow + column * product.narrow_bytes;
  if (product.narrow_type == Number::f16) {
    Pack<std::uint16_t, n> halves;
    for (int i = 0; i < n; ++i) halves.of[i] = float_to_half(values.of[i]);
    *reinterpret_cast<Pack<std::uint16_t, n>*>(narrow + row * 2) = halves;
  } else {
    Pack<std::int8_t, n> bytes;
    for (int i = 0; i < n; ++i) bytes.of[i] = quantise(values.of[i], product.quantum);
    *reinterpret_cast<Pack<std::int8_t, n>*>(narrow + row) = bytes;
  }
}

}  // namespace vp3d::cuda
