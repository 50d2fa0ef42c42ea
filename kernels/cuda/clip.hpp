// What the kernels for windows and sequences are told, and their index arithmetic, for host and
// device. Their bodies are in clip_product.hpp, the plans that launch them in clip_plan.hpp.
//
// A launch is one layer: a matrix product of the layer's rows and of all columns of the batch. A
// column's inputs are `taps` columns of the level below, read where they lie: `spacing` apart, the
// first at `stride` times the column's own place. Windows have stride = taps and spacing = 1,
// sequences stride = 1 and spacing = the dilation.
//
// Blocks share the work in *tiles* of rows and columns, and walk along the inputs in the steps and
// fragments of layout.hpp: of weights they are 8 rows, of columns 8 columns.
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

// Which addresses of ClipArguments a layer's inputs count from.
enum class ClipSource : std::int32_t { input, workspace };

// Where the columns below lie that a column reads: `items_out` columns of each item of the batch
// are made of `items_in` below.
struct Reach {
  std::int32_t items_out, items_in, stride, first;
};

VP3D_HD constexpr std::int64_t place_below(const Reach& reach, std::int64_t column) {
  return column / reach.items_out * reach.items_in +
         column % reach.items_out * reach.stride + reach.first;
}

struct ClipProduct {
  std::int64_t weights, bias, scale;  // in the image; all of padded rows
  std::int64_t below;                 // the columns that are read, in the source
  std::int64_t residual;              // in the workspace: float32 columns; or -1
  std::int64_t wide, narrow;          // in the workspace: float32 columns, and those that a layer
                                      // of f16 or i8 weights reads; or -1
  std::int64_t answer;                // among the answers or, with `answers_inside`, in the
                                      // workspace: dense float32 columns; or -1
  std::int32_t blocks, row_tiles;     // of this launch
  std::int32_t rows, columns;         // columns of the whole batch
  std::int32_t taps, tap_steps;
  std::int32_t spacing;               // of taps, in columns
  std::int32_t below_bytes, residual_bytes, wide_bytes, narrow_bytes;  // of a column
  std::int32_t dense_inputs;          // 0, or how many numbers a step must not read beyond
  std::int32_t answers_inside;
  Reach reach, residual_reach;
  Number narrow_type;
  ClipSource source;
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

}  // namespace vp3d::cuda
