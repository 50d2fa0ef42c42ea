// One tile of one product: sums by the warps of a block, then bias, ReLU, residual and storing.
//
// Written once for device and host. A Block runs `warps(f)` and `threads(f)`, each followed by a
// barrier of the block, and `own(f)`, threads without one; a Warp runs `lanes(f)`. On the device
// these call f once; on the host they are loops, and what a lane keeps from one to the next is in a
// PerLane (device.cuh, and kernels/tests/simulated_grid.hpp).
#pragma once

#include <type_traits>

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
// And where the inputs of a phase's first products are, of each so many, tap after tap.
constexpr int kFoundProducts = 2, kFoundColumns = 192;
// Steps of a warp whose operands are asked for at once: as many as there are registers for.
constexpr int kDotSteps = 2, kTensorSteps = 2;
constexpr int kFoundBytes = kFoundProducts * kFoundColumns * 8;

VP3D_HD int columns_of(const Launch& launch, const Product& product) {
  return product.columns * launch.rows();
}

// A chunk of the columns of a product and the tile that it meets. Column j is planned column
// j % columns of row j / columns.
struct Work {
  const Launch* launch;
  const Product* product;
  const Item* item;
  const std::byte* weights;
  const std::byte* const* found;  // each column's inputs, tap after tap; null: nobody has looked
  int columns;                    // of all rows
  int first, count;

  // Past the end the last column is computed again, and not stored.
  VP3D_HD int column(int index) const { return first + (index < count ? index : count - 1); }
  VP3D_HD const std::byte* found_input(int index, int tap) const {
    return found[tap * columns + column(index)];
  }
  VP3D_HD const std::byte* input(int index, int tap) const {
    const int at = column(index);
    return input_of(*launch, *product, at / product->columns, at % product->columns, tap);
  }
};

VP3D_HD Words load(const std::byte* address) { return *reinterpret_cast<const Words*>(address); }

// The steps of a warp: every n-th, tap after tap.
class Steps {
 public:
  int step, tap = 0, in_tap;

  VP3D_HD Steps(const Product& product, int warp, int n_warps)
      : step(warp),
        in_tap(warp),
        n_warps_(n_warps),
        tap_steps_(product.tap_steps),
        steps_(product.taps * product.tap_steps) {
    settle();
  }
  VP3D_HD bool left(int count) const { return step + (count - 1) * n_warps_ < steps_; }
  VP3D_HD void next() {
    step += n_warps_;
    in_tap += n_warps_;
    settle();
  }

 private:
  VP3D_HD void settle() {
    VP3D_NO_UNROLL
    for (; in_tap >= tap_steps_; in_tap -= tap_steps_) ++tap;
  }

  const int n_warps_, tap_steps_, steps_;
};

// Reading takes far longer than multiplying: what several steps read is asked for before the first
// of them is multiplied. `run` is given so many of a warp's steps at a time, and what remains one by
// one.
template <int at_once, class Run>
VP3D_HD void run_steps(Steps& steps, const Run& run) {
  VP3D_NO_UNROLL
  while (at_once > 1 && steps.left(at_once)) run(std::integral_constant<int, at_once>());
  VP3D_NO_UNROLL
  while (steps.left(1)) run(std::integral_constant<int, 1>());
}

template <Number type, int n, bool found, class Warp>
VP3D_HD void sum_by_dot(Warp& warp, const Work& work, int n_warps, std::byte* partial) {
  using Sum = typename Arithmetic<type>::Sum;
  struct Sums {
    Sum of[n];
  };
  typename Warp::template PerLane<Sums> sums;
  warp.lanes([&](int lane) {
    Sums sum = {};
    const std::byte* from[n] = {};
    int tap = -1;
    Steps steps(*work.product, warp.index(), n_warps);
    run_steps<found ? kDotSteps : 1>(steps, [&](auto at_once) {
      constexpr int count = decltype(at_once)::value;
      Words weights[count], inputs[count][n];
      VP3D_UNROLL
      for (int k = 0; k < count; ++k) {
        if (!found && steps.tap != tap) {
          for (int i = 0; i < n; ++i) from[i] = work.input(i, steps.tap);
          tap = steps.tap;
        }
        const int at = steps.in_tap * kStepBytes + static_cast<int>(input_offset(lane));
        weights[k] = load(work.weights + fragment_offset(steps.step, lane));
        VP3D_UNROLL
        for (int i = 0; i < n; ++i)
          inputs[k][i] = load((found ? work.found_input(i, steps.tap) : from[i]) + at);
        steps.next();
      }
      VP3D_UNROLL
      for (int k = 0; k < count; ++k) {
        VP3D_UNROLL
        for (int i = 0; i < n; ++i)
          sum.of[i] = Arithmetic<type>::dot(weights[k], inputs[k][i], sum.of[i]);
      }
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

// Up to 8 columns or, with `both` halves of the instruction's, 16. Columns that are not there are
// zeros.
template <Number type, bool both, bool found, class Warp>
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
  warp.lanes([&](int lane) { sums[lane] = Sums{}; });
  int tap = -1;
  Steps steps(*work.product, warp.index(), n_warps);
  run_steps<found ? kTensorSteps : 1>(steps, [&](auto at_once) {
    constexpr int count = decltype(at_once)::value;
    typename Warp::template PerLane<Words> weights[count], low[count], high[count];
    VP3D_UNROLL
    for (int k = 0; k < count; ++k) {
      warp.lanes([&](int lane) {
        const int row = lane_row(lane);
        if (found)
          inputs[lane] = {work.found_input(row, steps.tap),
                          both ? work.found_input(row + 8, steps.tap) : nullptr};
        else if (steps.tap != tap)
          inputs[lane] = {work.input(row, steps.tap),
                          both ? work.input(row + 8, steps.tap) : nullptr};
        const int at = steps.in_tap * kStepBytes + static_cast<int>(input_offset(lane));
        weights[k][lane] = load(work.weights + fragment_offset(steps.step, lane));
        low[k][lane] = row < work.count ? load(inputs[lane].low + at) : Words{};
        high[k][lane] = both && row + 8 < work.count ? load(inputs[lane].high + at) : Words{};
      });
      tap = steps.tap;
      steps.next();
    }
    VP3D_UNROLL
    for (int k = 0; k < count; ++k)
      warp.template multiply_add<type>(sums, low[k], high[k], weights[k]);
  });
  auto* out = reinterpret_cast<Sum*>(partial) + warp.index() * kTensorColumns * kTileRows;
  warp.lanes([&](int lane) {
    for (int i = 0; i < (both ? 4 : 2); ++i)
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

// Where one output of a chunk goes, which does not depend on its sum, and what is added to it: a
// column that is two phases old at least, so that it is asked for long before it is needed. A thread
// keeps its own in shared memory.
struct Ending {
  float* wide;        // or null
  std::byte* narrow;  // or null
  float residual;
  std::int32_t adds;  // the residual
};
constexpr int kEndingBytes = kTensorColumns * kTileRows * static_cast<int>(sizeof(Ending));

// Of output `index`, counted row by row of the tile, column by column of the chunk.
VP3D_HD void find_ending(const Work& work, int index, Ending* endings) {
  const int output = work.item->tile * kTileRows + index % kTileRows;
  if (index >= work.count * kTileRows || output >= work.product->rows) return;
  const Outputs outputs =
      outputs_of(*work.launch, *work.product, work.first + index / kTileRows);
  const bool adds = outputs.residual != nullptr;
  endings[index] = {outputs.wide, outputs.narrow, adds ? outputs.residual[output] : 0.0F,
                    adds ? 1 : 0};
}

// A sum with its bias, ReLU but for answers, and residual.
VP3D_HD float finished(const Product& product, const Ending& ending, float value) {
  if (product.role == Role::shrink) return value;
  value = value > 0.0F || value != value ? value : 0.0F;  // ReLU hands NaN on
  return ending.adds == 0 ? value : value + ending.residual;
}

// Sums of the warps, in their order: the same for every number of streams.
template <Number type>
VP3D_HD void finish(const Work& work, int index, int n_warps, const std::byte* partial,
                    const Ending& ending) {
  using Sum = typename Arithmetic<type>::Sum;
  const Product& product = *work.product;
  const int row = index % kTileRows, output = work.item->tile * kTileRows + row;
  if (output >= product.rows) return;
  const auto* sums = reinterpret_cast<const Sum*>(partial) + index;
  Sum sum = 0;
  for (int warp = 0; warp < n_warps; ++warp) sum += sums[warp * kTensorColumns * kTileRows];
  auto value = static_cast<float>(sum);
  if constexpr (type == Number::i8) value *= work.item->scale[row];
  value = finished(product, ending, value + work.item->bias[row]);
  if (ending.wide != nullptr) ending.wide[output] = value;
  if (ending.narrow != nullptr)
    store_narrow(ending.narrow, product.narrow, output, value, product.quantum);
}

template <Number type, bool found, class Warp>
VP3D_HD void sum_chunk(Warp& warp, const Work& work, int n_warps, bool tensor,
                       std::byte* partial) {
  if constexpr (type != Number::f32 && Warp::kTensorCores) {
    if (tensor)
      return work.count > 8
                 ? sum_by_tensor_core<type, true, found>(warp, work, n_warps, partial)
                 : sum_by_tensor_core<type, false, found>(warp, work, n_warps, partial);
  }
  switch (work.count) {
    case 1: return sum_by_dot<type, 1, found>(warp, work, n_warps, partial);
    case 2: return sum_by_dot<type, 2, found>(warp, work, n_warps, partial);
    case 3: return sum_by_dot<type, 3, found>(warp, work, n_warps, partial);
    default: return sum_by_dot<type, 4, found>(warp, work, n_warps, partial);
  }
}

template <class Block>
VP3D_HD bool by_tensor_core(const Launch& launch, const Product& product) {
  const int from = launch.header().tensor_columns;
  return product.type != Number::f32 && Block::Warp::kTensorCores && from > 0 &&
         columns_of(launch, product) >= from;
}

// The chunk of columns that begins at work.first. Each of its outputs is a thread's.
template <class Block>
VP3D_HD Work chunk_of(const Block& block, Work work) {
  const int left = work.columns - work.first;
  const int chunk =
      by_tensor_core<Block>(*work.launch, *work.product) ? kTensorColumns : kDotColumns;
  const int threads = block.n_warps() * kLanes / kTileRows;
  work.count = left < chunk ? left : chunk;
  work.count = work.count < threads ? work.count : threads;
  return work;
}

template <class Block>
VP3D_HD void find_endings(Block& block, const Work& chunk) {
  block.own([&](int thread) { find_ending(chunk, thread, block.endings()); });
}

// `ready`: the endings are those of the first chunk.
template <Number type, class Block>
VP3D_HD void run_tile(Block& block, Work work, bool ready) {
  const bool tensor = by_tensor_core<Block>(*work.launch, *work.product);
  std::byte* partial = block.partial();
  for (work.first = 0; work.first < work.columns; work.first += work.count) {
    work = chunk_of(block, work);
    if (!ready) find_endings(block, work);
    ready = false;
    block.warps([&](auto& warp) {
      if (work.found != nullptr)
        sum_chunk<type, true>(warp, work, block.n_warps(), tensor, partial);
      else
        sum_chunk<type, false>(warp, work, block.n_warps(), tensor, partial);
    });
    block.threads([&](int thread) {
      if (thread < work.count * kTileRows)
        finish<type>(work, thread, block.n_warps(), partial, block.endings()[thread]);
    });
  }
}

}  // namespace vp3d::cuda
