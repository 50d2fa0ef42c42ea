// One product of the network as a kernel sees it: packed weights, columns in, columns out.
//
// A *column* is the C values of one level at one moment. A level's convolution reads `taps` columns
// of the level below and makes one; mixing and `shrink` are convolutions of one tap. Columns are
// given by pointers, so rings and recorded clips are read where they lie.
//
// Weights are packed in *panels* of as many output rows as a kernel computes at once, inputs
// running slowest: what a kernel reads is one contiguous stream, and no sum crosses a register.
// 8-bit weights keep four inputs of a row together, as the dot-product instructions want them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vp3d::cpu {

enum class WeightType { f32, f16, i8 };

// A half-precision number as it is stored.
struct Half {
  std::uint16_t bits;
};

struct PackedLayer {
  WeightType type = WeightType::f32;
  std::int64_t taps = 1;
  std::int64_t tap_inputs = 0;  // of each tap; for i8 a multiple of 4
  std::int64_t rows = 0;        // outputs, a multiple of the panel
  bool relu = true;
  const float* bias = nullptr;   // (rows,)
  const float* scale = nullptr;  // (rows,) for i8: of the weights times that of the inputs
  float input_scale = 1.0F;      // for i8: what one step of the quantised inputs is worth
};

// Panels one after another in memory: those that are a thread's own, or a few of them.
struct Share {
  const std::byte* weights = nullptr;
  std::int64_t first_panel = 0;
  std::int64_t n_panels = 0;
};

// out = residual + relu(W * in + b) for every column.
struct LayerCall {
  const PackedLayer* layer = nullptr;
  std::int64_t n_columns = 0;
  // (n_columns, taps) columns of the level below: float32, or for i8 their quantised values 0..127.
  const void* const* inputs = nullptr;
  const float* const* residuals = nullptr;  // (n_columns,) or none
  float* const* outputs = nullptr;          // (n_columns,) or none; each of `rows` values
  // (n_columns,) or none: the outputs for a layer with 8-bit weights, whose input scale is
  // `quantum`: min(round(output / quantum), 127).
  std::uint8_t* const* quantised = nullptr;
  float quantum = 1.0F;
  // A sum in two calls, for up to `KernelSet::in_place_columns` columns: one adds up some taps and
  // leaves its sums in `kept_sums`, another begins with them and adds the others. Each column's
  // array has `rows` numbers of the kind that the kernel sums in: float32, or int32 for i8.
  const std::int64_t* left_out = nullptr;  // (taps,) or none: without so many of the first columns
  void* const* first_sums = nullptr;       // (n_columns,) or none
  void* const* kept_sums = nullptr;        // (n_columns,) or none; then nothing else is written
};

// Columns of a call that are packed side by side at one time.
struct Chunk {
  std::int64_t first = 0;
  std::int64_t n = 0;
};

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kMostPanels = 2;      // that a thread computes at once
constexpr std::int64_t kChunkColumns = 192;  // at most
// Work space of one thread: the sums of its panels over a chunk while they are not complete, and a
// block of weights as float32.
constexpr std::int64_t kPartialBytes = kMostPanels * 32 * kChunkColumns * 4;  // of 32 rows at most
constexpr std::int64_t kBlockBytes = 32 << 10;  // of weights; they stream from a second-level cache
constexpr std::int64_t kScratchBytes = kPartialBytes + kBlockBytes;

// What computes a layer with weights of one type.
struct LayerKernels {
  std::int64_t tile_columns;  // that are multiplied at a time, of packed ones
  // Up to KernelSet::in_place_columns columns, read where they lie.
  void (*in_place)(const LayerCall& call, const Share& panels);
  // More are packed first, tile by tile: of all of a panel's inputs part `part` of `parts`. `packed`
  // has room for whole tiles, of packed_stride(tile_columns) elements (pack_columns.hpp).
  void (*pack)(const LayerCall& call, const Chunk& chunk, int part, int parts, std::byte* packed);
  // Up to kMostPanels panels for a packed chunk. `scratch` has kScratchBytes.
  void (*packed)(const LayerCall& call, const Chunk& chunk, const Share& panels,
                 const std::byte* packed, std::byte* scratch);
};

// The kernels for one instruction set.
struct KernelSet {
  const char* name;
  std::int64_t panel_rows;
  std::int64_t in_place_columns;  // that are read where they lie, at most
  LayerKernels f32;
  LayerKernels f16;
  LayerKernels i8;
  // For measuring: reads bytes (a multiple of 4096), returns something that depends on them all.
  // ahead: asks for what comes; which way is faster depends on the processor.
  std::uint64_t (*read)(const std::byte* data, std::int64_t bytes, bool ahead);
  // For measuring: multiply-adds on numbers in the first-level cache, which is what a tile comes to
  // at best. Returns how many; `sink` takes the results, up to 16 numbers.
  std::int64_t (*multiply_add_f32)(std::int64_t repeats, float* sink);
  std::int64_t (*multiply_add_i8)(std::int64_t repeats, float* sink);

  const LayerKernels& layer(WeightType type) const {
    return type == WeightType::f32 ? f32 : type == WeightType::f16 ? f16 : i8;
  }
};

}  // namespace vp3d::cpu
