// What the kernels for windows and sequences are told, and their index arithmetic, for host and
// device. Their bodies are in clip_product.hpp, the plans that launch them in clip_plan.hpp.
//
// A launch is one layer: a matrix product of the layer's rows and of all columns of the batch. A
// column's inputs are `taps` columns of the level below, read where they lie: `spacing` apart, the
// first at `stride` times the column's own place. Windows have stride = taps and spacing = 1,
// sequences stride = 1 and spacing = the dilation.
//
// Blocks share the work in *tiles* of rows and columns, and walk along the inputs in the steps and
// fragments of layout.hpp: of weights they are 8 rows, of columns 8 columns. Two neighbouring tiles
// of 8 rows share 16 outputs such that a lane's sums are four outputs in a row (see clip_row).
#pragma once

#include "layout.hpp"
#include "processing.hpp"

namespace vp3d::cuda {

// Columns and rows are padded to so many numbers; padding of columns holds zeros.
constexpr std::int64_t kClipUnit = 64;
// Networks whose layers one launch may run.
constexpr int kClipProducts = 2;

VP3D_HD constexpr std::int64_t clip_padded(std::int64_t count) {
  return ceil_div(count, kClipUnit) * kClipUnit;
}

VP3D_HD constexpr std::int64_t clip_column_bytes(std::int64_t count, Number type) {
  return clip_padded(count) * size_of(type);
}

// The output that row `row` of tile `tile` computes. With it the accumulators 2q and 2q + 1 of both
// tiles of a pair, which a lane holds, are outputs 4q .. 4q+3.
VP3D_HD constexpr std::int64_t clip_row(std::int64_t tile, std::int64_t row) {
  return tile / 2 * 2 * kTileRows + row / 2 * 4 + tile % 2 * 2 + row % 2;
}

// Where inputs and outputs of a layer are: which addresses of ClipArguments they count from.
enum class ClipSource : std::int32_t { input, workspace };

struct ClipProduct {
  std::int64_t weights, bias, scale;  // in the image; bias and scale for padded rows
  std::int64_t below;                 // the columns that are read, in input or workspace
  std::int64_t residual;              // float32 columns in the workspace, or -1
  std::int64_t wide, narrow;          // in the workspace, or -1: float32 columns; for a layer of
                                      // f16 or i8 weights
  std::int64_t answer;                // in floats, or -1: dense rows among the answers
  std::int32_t blocks, row_tiles;     // row_tiles of the launch's kernel
  std::int32_t rows, columns;         // of the whole batch
  std::int32_t taps, tap_steps;
  std::int32_t below_bytes, residual_bytes, wide_bytes, narrow_bytes;  // of a column
  std::int32_t items_out, items_in;   // columns of one item of the batch, here and below
  std::int32_t stride, spacing;       // in columns below
  std::int32_t residual_tap;
  Number narrow_type;
  ClipSource source;
  std::int32_t inputs;                // of a dense column: below_bytes is not padded, and has gaps of
                                      // none; 0 otherwise
  std::int32_t relu;
  float quantum;                      // of a narrow copy in 8 bits
};

struct ClipArguments {
  const std::byte* image;
  const std::byte* input;
  std::byte* workspace;
  float* answers;
  ClipProduct products[kClipProducts];
  std::int32_t stages, unused;
};

// Column -> the place of its first tap among the columns below.
VP3D_HD constexpr std::int64_t first_tap(const ClipProduct& product, std::int64_t column) {
  return column / product.items_out * product.items_in +
         column % product.items_out * product.stride;
}

}  // namespace vp3d::cuda
