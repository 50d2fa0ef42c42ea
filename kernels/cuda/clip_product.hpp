// The layers of windows and sequences: one tile of one product by one block, for host and device.
//
// Bodies are those of one warp of a block, as the device runs them: a Warp has `lanes(f)`, PerLane
// and multiply_add as in product.hpp, and also `barrier()` of its block, shared memory by offsets,
// and copies to it that land between their issue and `await_copies`, and that other warps see after
// a barrier behind that (clip_device.cuh, and kernels/tests/simulated_warp.hpp).
#pragma once

#include "clip.hpp"
#include "finish.hpp"

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
  static_assert(along % 16 == 0 && across % 16 == 0, "an mma has 16 columns");

  // Where a lane's 16 bytes of a fragment are.
  static VP3D_HD constexpr int lane_offset(int lane) { return lane * kLaneBytes; }
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

VP3D_HD Finish finish_of(const ClipArguments& arguments, const ClipProduct& product) {
  const auto floats = [&](std::int64_t offset) {
    return offset < 0 ? nullptr : reinterpret_cast<const float*>(arguments.image + offset);
  };
  const bool dense = product.answer >= 0;
  return {floats(product.bias),
          floats(product.scale),
          dense ? product.rows : clip_padded(product.rows),
          product.relu != 0,
          product.residual >= 0,
          dense,
          product.narrow_type,
          product.quantum};
}

VP3D_HD Outputs outputs_of(const ClipArguments& arguments, const ClipProduct& product,
                           std::int64_t column) {
  std::byte* workspace = arguments.workspace;
  if (product.answer >= 0) {
    std::byte* all = product.answers_inside != 0 ? workspace
                                                 : reinterpret_cast<std::byte*>(arguments.answers);
    return {reinterpret_cast<float*>(all + product.answer) + column * product.rows, nullptr,
            nullptr};
  }
  Outputs outputs{nullptr, nullptr, nullptr};
  if (product.wide >= 0)
    outputs.wide = reinterpret_cast<float*>(workspace + product.wide + column * product.wide_bytes);
  if (product.narrow >= 0)
    outputs.narrow = workspace + product.narrow + column * product.narrow_bytes;
  if (product.residual >= 0)
    outputs.residual = reinterpret_cast<const float*>(
        workspace + product.residual +
        place_below(product.residual_reach, column) * product.residual_bytes);
  return outputs;
}

}  // namespace vp3d::cuda
