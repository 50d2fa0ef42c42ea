// One tile of one product: sums by the warps of a block, then bias, ReLU, residual and storing.
//
// Written once for device and host. A Block runs `warps(f)` and `threads(f)`, each followed by a
// barrier of the block; a Warp runs `lanes(f)`. On the device these call f once; on the host they
// are loops, and what a lane keeps from one to the next is in a PerLane (device.cuh, and
// kernels/tests/simulated_grid.hpp).
#pragma once

#include "program.hpp"

namespace vp3d::cuda {

// Columns that one pass over a tile's weights serves, without tensor cores and with.
constexpr int kDotColumns = 4;
constexpr int kTensorColumns = 16;
constexpr int kMostWarps = 16;
// Of shared memory: the tables and the frame that a block keeps, where they fit; the warps' sums.
constexpr int kNearTableBytes = 8192;
constexpr int kNearFrameBytes = 2048;
constexpr int kNearInputBytes = 2048;  // prepared, where there is processing
constexpr int kPartialBytes = kMostWarps * kTensorColumns * kTileRows * 4;

// A chunk of the columns of a product and the tile that it meets. Column j is planned column
// j % columns of row j / columns.
struct Work {
  const Launch* launch;
  const Product* product;
  const std::byte* weights;
  int tile, first, count;

  VP3D_HD const std::byte* input(int index, int tap) const {
    // Past the end the last column is computed again, and not stored.
    const int column = first + (index < count ? index : count - 1);
    return input_of(*launch, *product, column / product->columns, column % product->columns, tap);
  }
};

VP3D_HD Words load(const std::byte* address) { return *reinterpret_cast<const Words*>(address); }

// The steps of a warp: every n-th, tap after tap.
template <class Each>
VP3D_HD void each_step(const Product& product, int warp, int n_warps, const Each& each) {
  const int steps = product.taps * product.tap_steps;
  int tap = -1;
  for (int step = warp; step < steps; step += n_warps) {
    const int at = step / product.tap_steps;
    each(step, step - at * product.tap_steps, at, at != tap);
    tap = at;
  }
}

template <Number type, int n, class Warp>
VP3D_HD void sum_by_dot(Warp& warp, const Work& work, int n_warps, std::byte* partial) {
  using Sum = typename Arithmetic<type>::Sum;
  struct Sums {
    Sum of[n];
  };
  typename Warp::template PerLane<Sums> sums;
  warp.lanes([&](int lane) {
    Sums sum = {};
    const std::byte* inputs[n] = {};
    each_step(*work.product, warp.index(), n_warps, [&](int step, int in_tap, int tap, bool turn) {
      if (turn)
        for (int i = 0; i < n; ++i) inputs[i] = work.input(i, tap) + input_offset(lane);
      const Words weights = load(work.weights + fragment_offset(step, lane));
      for (int i = 0; i < n; ++i)
        sum.of[i] =
            Arithmetic<type>::dot(weights, load(inputs[i] + in_tap * kStepBytes), sum.of[i]);
    });
    sums[lane] = sum;
  });
  for (int i = 0; i < n; ++i) warp.sum_of_quarters(sums, i);
  auto* out = reinterpret_cast<Sum*>(partial) + warp.index() * kTensorColumns * kTileRows;
  warp.lanes([&](int lane) {
    if (lane_quarter(lane) != 0) return;
    for (int i = 0; i < n; ++i) out[i * kTileRows + lane_row(lane)] = sums[lane].of[i];
  });
}

template <Number type, class Warp>
VP3D_HD void sum_by_tensor_core(Warp& warp, const Work& work, int n_warps, std::byte* partial) {
  using Sum = typename Arithmetic<type>::Sum;
  struct Sums {
    Sum of[4];
  };
  struct Inputs {
    const std::byte *low, *high;  // of columns lane / 4 and lane / 4 + 8
  };
  typename Warp::template PerLane<Sums> sums;
  typename Warp::template PerLane<Inputs> inputs;
  typename Warp::template PerLane<Words> weights, low, high;
  warp.lanes([&](int lane) { sums[lane] = Sums{}; });
  each_step(*work.product, warp.index(), n_warps, [&](int step, int in_tap, int tap, bool turn) {
    warp.lanes([&](int lane) {
      if (turn)
        inputs[lane] = {work.input(lane_row(lane), tap) + input_offset(lane),
                        work.input(lane_row(lane) + 8, tap) + input_offset(lane)};
      weights[lane] = load(work.weights + fragment_offset(step, lane));
      low[lane] = load(inputs[lane].low + in_tap * kStepBytes);
      high[lane] = load(inputs[lane].high + in_tap * kStepBytes);
    });
    warp.template multiply_add<type>(sums, low, high, weights);
  });
  auto* out = reinterpret_cast<Sum*>(partial) + warp.index() * kTensorColumns * kTileRows;
  warp.lanes([&](int lane) {
    for (int i = 0; i < 4; ++i)
      out[mma_column(lane, i) * kTileRows + mma_row(lane, i)] = sums[lane].of[i];
  });
}

VP3D_HD void store_narrow(std::byte* column, Number type, int row, float value, float quantum) {
  if (type == Number::f16)
    reinterpret_cast<std::uint16_t*>(column)[row] = float_to_half(value);
  else
    reinterpret_cast<std::int8_t*>(column)[row] = quantise(value, quantum);
}

// Where the outputs of one column of a product go, and what is added to them.
struct Outputs {
  float* wide;            // or null
  std::byte* narrow;      // or null
  const float* residual;  // or null
};

VP3D_HD Outputs outputs_of(const Launch& launch, const Product& product, int column) {
  const int row_index = column / product.columns, planned = column % product.columns;
  const Row row = launch.row(row_index);
  std::byte* place = launch.place(row);
  if (product.role == Role::shrink) {
    const Image& header = launch.header();
    float* answers =
        header.processing.add_trajectory != 0
            ? reinterpret_cast<float*>(place + header.raw_answer)
            : launch.answers + static_cast<std::int64_t>(row_index) * header.answer_floats;
    return {answers + product.answer, nullptr, nullptr};
  }
  const bool narrow = product.narrow != Number::f32;
  if (product.role == Role::conv) {
    std::byte* middle = place + product.middle + planned * product.middle_bytes;
    return {narrow ? nullptr : reinterpret_cast<float*>(middle), narrow ? middle : nullptr,
            nullptr};
  }
  const int kind = launch.near_table<std::int32_t>(product.kind_table)[planned];
  Outputs outputs{
      reinterpret_cast<float*>(place + own_offset(product.own, kind, row.frames, false)),
      narrow ? place + own_offset(product.own, kind, row.frames, true) : nullptr, nullptr};
  if (product.role == Role::mix) {
    const Tap* taps = launch.near_table<Tap>(product.tap_table) + planned * product.level_taps;
    outputs.residual = reinterpret_cast<const float*>(
        place + below_offset(product.below, taps[product.residual_tap], row.frames, false));
  }
  return outputs;
}

// A sum with its bias, ReLU but for answers, and residual.
VP3D_HD float finished(const Product& product, const Outputs& outputs, int output, float value) {
  if (product.role == Role::shrink) return value;
  value = value > 0.0F || value != value ? value : 0.0F;  // ReLU hands NaN on
  return outputs.residual == nullptr ? value : value + outputs.residual[output];
}

VP3D_HD void store_output(const Launch& launch, const Product& product, int column, int output,
                          float value) {
  const Outputs outputs = outputs_of(launch, product, column);
  value = finished(product, outputs, output, value);
  if (outputs.wide != nullptr) outputs.wide[output] = value;
  if (outputs.narrow != nullptr)
    store_narrow(outputs.narrow, product.narrow, output, value, product.quantum);
}

// Sums of the warps, in their order: the same for every number of streams.
template <Number type>
VP3D_HD void finish(const Work& work, int index, int n_warps, const std::byte* partial) {
  using Sum = typename Arithmetic<type>::Sum;
  const Product& product = *work.product;
  const int output = work.tile * kTileRows + index % kTileRows;
  if (output >= product.rows) return;
  const auto* sums = reinterpret_cast<const Sum*>(partial) + index;
  Sum sum = 0;
  for (int warp = 0; warp < n_warps; ++warp) sum += sums[warp * kTensorColumns * kTileRows];
  auto value = static_cast<float>(sum);
  if constexpr (type == Number::i8) value *= work.launch->table<float>(product.scale)[output];
  value += work.launch->table<float>(product.bias)[output];
  store_output(*work.launch, product, work.first + index / kTileRows, output, value);
}

template <Number type, class Warp>
VP3D_HD void sum_chunk(Warp& warp, const Work& work, int n_warps, bool tensor,
                       std::byte* partial) {
  if constexpr (type != Number::f32 && Warp::kTensorCores) {
    if (tensor) return sum_by_tensor_core<type>(warp, work, n_warps, partial);
  }
  switch (work.count) {
    case 1: return sum_by_dot<type, 1>(warp, work, n_warps, partial);
    case 2: return sum_by_dot<type, 2>(warp, work, n_warps, partial);
    case 3: return sum_by_dot<type, 3>(warp, work, n_warps, partial);
    default: return sum_by_dot<type, 4>(warp, work, n_warps, partial);
  }
}

template <Number type, class Block>
VP3D_HD void run_tile(Block& block, Work work) {
  const int columns = work.product->columns * work.launch->rows();
  const int tensor_columns = work.launch->header().tensor_columns;
  const bool tensor = type != Number::f32 && Block::Warp::kTensorCores && tensor_columns > 0 &&
                      columns >= tensor_columns;
  const int chunk = tensor ? kTensorColumns : kDotColumns;
  std::byte* partial = block.partial();
  for (work.first = 0; work.first < columns; work.first += chunk) {
    work.count = columns - work.first < chunk ? columns - work.first : chunk;
    block.warps([&](auto& warp) {
      sum_chunk<type>(warp, work, block.n_warps(), tensor, partial);
    });
    block.threads([&](int thread) {
      for (int i = thread; i < work.count * kTileRows; i += block.n_warps() * kLanes)
        finish<type>(work, i, block.n_warps(), partial);
    });
  }
}

}  // namespace vp3d::cuda
