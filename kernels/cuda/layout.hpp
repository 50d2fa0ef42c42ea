// Index arithmetic of packed weights and of columns, for host and device.
//
// A product's output rows are cut into *tiles* of 8. A warp walks along a tile in *steps* of 64
// bytes of the inputs, whatever their type. A step is a *fragment* of 512 bytes of weights: lane
// 4g + q holds the 16 bytes of row g that meet bytes 16q .. 16q+15 of the step's inputs. That is
// one coalesced load, and with the k index permuted alike on both sides it is also two of the B
// operands of mma.m16n8k16 (f16) and mma.m16n8k32 (s8): one packing for every number of columns.
#pragma once

#include "numbers.hpp"

namespace vp3d::cuda {

constexpr int kLanes = 32;
constexpr int kTileRows = 8;
constexpr int kLaneBytes = 16;
constexpr int kStepBytes = 64;
constexpr int kFragmentBytes = kTileRows * kStepBytes;

VP3D_HD constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit;
}

// A column in memory: `count` numbers, and zeros up to whole steps.
VP3D_HD constexpr std::int64_t column_bytes(std::int64_t count, Number type) {
  return ceil_div(count * size_of(type), kStepBytes) * kStepBytes;
}

VP3D_HD constexpr std::int64_t steps_of(std::int64_t count, Number type) {
  return column_bytes(count, type) / kStepBytes;
}

VP3D_HD constexpr int lane_row(int lane) { return lane / 4; }
VP3D_HD constexpr int lane_quarter(int lane) { return lane % 4; }

// Of one lane's weights within a tile, in bytes.
VP3D_HD constexpr std::int64_t fragment_offset(std::int64_t step, int lane) {
  return step * kFragmentBytes + lane * kLaneBytes;
}

// Of one lane's inputs within a step, in bytes.
VP3D_HD constexpr std::int64_t input_offset(int lane) { return lane_quarter(lane) * kLaneBytes; }

// Where the weight that row `row` of a tile has for input `k` of tap `tap` lies in the tile.
VP3D_HD constexpr std::int64_t weight_offset(std::int64_t row, std::int64_t tap, std::int64_t k,
                                             std::int64_t tap_steps, Number type) {
  const std::int64_t byte = k * size_of(type);
  const std::int64_t step = tap * tap_steps + byte / kStepBytes;
  const auto lane = static_cast<int>(row * 4 + byte % kStepBytes / kLaneBytes);
  return fragment_offset(step, lane) + byte % kLaneBytes;
}

// Where accumulator `i`, 0..3, of a lane lies after an mma whose A rows are columns of the network
// and whose B columns are the rows of a tile.
VP3D_HD constexpr int mma_column(int lane, int i) { return lane / 4 + 8 * (i / 2); }
VP3D_HD constexpr int mma_row(int lane, int i) { return lane % 4 * 2 + i % 2; }

// Packs rows first .. first+7 of a (rows, taps * inputs) matrix; `tile` is zero before.
inline void pack_tile(const std::byte* matrix, std::int64_t rows, std::int64_t taps,
                      std::int64_t inputs, Number type, std::int64_t first, std::byte* tile) {
  const auto size = static_cast<std::size_t>(size_of(type));
  const std::int64_t tap_steps = steps_of(inputs, type);
  for (std::int64_t row = 0; row < kTileRows && first + row < rows; ++row)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t k = 0; k < inputs; ++k) {
        const auto at = static_cast<std::size_t>(((first + row) * taps + tap) * inputs + k);
        std::memcpy(tile + weight_offset(row, tap, k, tap_steps, type), matrix + at * size, size);
      }
}

}  // namespace vp3d::cuda
