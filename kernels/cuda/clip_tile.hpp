// Many columns: a block's tile of rows and columns, whose inputs and weights go through a pipeline
// of stages in shared memory, one step in each.
#pragma once

#include "clip_store.hpp"

namespace vp3d::cuda {

// What one warp copies for each step: some fragments of the tile's columns, and some of its rows. All
// pointers run ahead with the steps; what is not there is copied as zeros.
template <class Tile, class Warp>
class StageCopies {
 public:
  VP3D_HD StageCopies(Warp& warp, const ClipArguments& arguments, const ClipProduct& product,
                      std::int64_t first_column, std::int64_t first_row)
      : first_fragment_(warp.index() * Tile::own_columns),
        steps_left_(product.taps * product.tap_steps),
        tap_steps_(product.tap_steps),
        tap_left_(product.tap_steps),
        dense_left_(product.dense_inputs),
        dense_(product.dense_inputs > 0),
        tile_bytes_(static_cast<std::int64_t>(steps_left_) * kFragmentBytes),
        next_tap_(static_cast<std::int64_t>(product.spacing) * product.below_bytes -
                  static_cast<std::int64_t>(product.tap_steps) * kStepBytes) {
    const std::byte* below = columns_below(arguments, product);
    const std::int64_t tile = first_row / kTileRows + warp.index() * Tile::own_rows;
    tiles_left_ = static_cast<int>(clip_padded(product.rows) / kTileRows - tile);
    warp.lanes([&](int lane) {
      int there = 0;
      VP3D_UNROLL
      for (int i = 0; i < Tile::own_columns; ++i) {
        const std::int64_t column =
            first_column + (first_fragment_ + i) * kTileRows + lane_row(lane);
        there |= column < product.columns ? 1 << i : 0;
        columns_[i][lane] = column_start(
            below, product, column < product.columns ? column : product.columns - 1, lane);
      }
      there_[lane] = there;
      weights_[lane] = arguments.image + product.weights + tile * tile_bytes_ + lane * kLaneBytes;
    });
  }

  // Taps lie at equal distances: nothing has to be found.
  static VP3D_HD constexpr bool turns() { return false; }
  VP3D_HD void turn(Warp&) {}

  // The next step, to the stage at this offset of shared memory; and an end to the group, for
  // await_copies, also where no step is left.
  VP3D_HD void copy_next(Warp& warp, int stage) {
    if (steps_left_ > 0) {
      const int columns = stage + first_fragment_ * kFragmentBytes;
      const int rows = stage + (Tile::column_fragments + warp.index() * Tile::own_rows) *
                                   kFragmentBytes;
      warp.lanes([&](int lane) {
        copy_columns(warp, columns + Tile::lane_offset(lane), lane);
        VP3D_UNROLL
        for (int i = 0; i < Tile::own_rows; ++i)
          warp.copy(rows + i * kFragmentBytes + Tile::lane_offset(lane),
                    weights_[lane] + i * tile_bytes_, i < tiles_left_);
        weights_[lane] += kFragmentBytes;
      });
      advance(warp);
    }
    warp.end_copies();
  }

 private:
  VP3D_HD void copy_columns(Warp& warp, int to, int lane) {
    VP3D_UNROLL
    for (int i = 0; i < Tile::own_columns; ++i) {
      const std::byte* from = columns_[i][lane];
      const bool there = (there_[lane] >> i & 1) != 0;
      if constexpr (Tile::type == Number::f32) {
        if (dense_) {
          const int numbers = there ? dense_left_ - lane_quarter(lane) * 4 : 0;
          for (int k = 0; k < 4; ++k)
            warp.copy_number(to + i * kFragmentBytes + k * 4, from + k * 4, numbers > k);
          continue;
        }
      }
      warp.copy(to + i * kFragmentBytes, from, there);
    }
  }

  VP3D_HD void advance(Warp& warp) {
    --steps_left_;
    dense_left_ -= kStepBytes / 4;
    std::int64_t ahead = kStepBytes;
    if (--tap_left_ == 0) {
      tap_left_ = tap_steps_;
      ahead += next_tap_;
    }
    warp.lanes([&](int lane) {
      VP3D_UNROLL
      for (int i = 0; i < Tile::own_columns; ++i) columns_[i][lane] += ahead;
    });
  }

  const int first_fragment_;
  int steps_left_, tiles_left_ = 0;
  const int tap_steps_;
  int tap_left_, dense_left_;
  const bool dense_;
  const std::int64_t tile_bytes_, next_tap_;
  typename Warp::template PerLane<const std::byte*> columns_[Tile::own_columns], weights_;
  typename Warp::template PerLane<int> there_;
};

// A warp's sums: of 16 columns and 8 rows in each multiply_add.
template <class Tile, class Warp>
struct TileSums {
  struct Four {
    typename Arithmetic<Tile::type>::Sum of[4];
  };
  static constexpr int m = Tile::along / 16, n = Tile::across / kTileRows;
  static constexpr int stages_free = 1;  // of a pipeline that is filled before the first step

  typename Warp::template PerLane<Four> of[m][n];
  int first_column, first_row;  // of the warp, within the block's tile

  VP3D_HD explicit TileSums(Warp& warp)
      : first_column(warp.index() / Tile::warps_across * Tile::along),
        first_row(warp.index() % Tile::warps_across * Tile::across) {
    VP3D_UNROLL
    for (int i = 0; i < m; ++i) {
      VP3D_UNROLL
      for (int j = 0; j < n; ++j) warp.lanes([&](int lane) { of[i][j][lane] = Four{}; });
    }
  }

  VP3D_HD int column_of(int i) const { return first_column + i * 16; }

  VP3D_HD void add_stage(Warp& warp, int stage) {
    using Fragment = typename Warp::template PerLane<Words>;
    const auto fetch = [&warp](Fragment& fragment, int at) {
      warp.lanes([&](int lane) { fragment[lane] = warp.fetch(at + lane * kLaneBytes); });
    };
    const int columns = stage + first_column / kTileRows * kFragmentBytes;
    const int rows =
        stage + (Tile::column_fragments + first_row / kTileRows) * kFragmentBytes;
    Fragment weights[n];
    VP3D_UNROLL
    for (int j = 0; j < n; ++j) fetch(weights[j], rows + j * kFragmentBytes);
    VP3D_UNROLL
    for (int i = 0; i < m; ++i) {
      Fragment low, high;
      fetch(low, columns + 2 * i * kFragmentBytes);
      fetch(high, columns + (2 * i + 1) * kFragmentBytes);
      VP3D_UNROLL
      for (int j = 0; j < n; ++j)
        warp.template multiply_add<Tile::type>(of[i][j], low, high, weights[j]);
    }
  }
};

// All steps: as many are under way as there are stages but one.
template <class Tile, class Copies, class Warp>
VP3D_HD void run_pipeline(Warp& warp, Copies& copies, TileSums<Tile, Warp>& sums, int stages,
                          int steps) {
  for (int stage = 0; stage + 1 < stages; ++stage) {
    if (copies.turns()) copies.turn(warp);
    copies.copy_next(warp, stage * Tile::stage_bytes);
  }
  int stage = 0;
  for (int step = 0; step < steps; ++step) {
    // All groups but those of the later steps: this step's copies, of this warp. Behind the barrier
    // those of all warps, and the stage of the step before is free.
    warp.await_copies(stages - 2);
    warp.barrier();
    if (copies.turns()) copies.turn(warp);
    copies.copy_next(warp, (stage == 0 ? stages - 1 : stage - 1) * Tile::stage_bytes);
    sums.add_stage(warp, stage * Tile::stage_bytes);
    if (++stage == stages) stage = 0;
  }
}

template <class Tile, class Warp>
VP3D_HD void run_clip_tile(Warp& warp, const ClipArguments& arguments, int block) {
  const ClipProduct& product = product_of(arguments, block);
  const int own = own_block(arguments, block);
  const std::int64_t first_row = static_cast<std::int64_t>(own % product.row_tiles) * Tile::rows;
  const std::int64_t first_column =
      static_cast<std::int64_t>(own / product.row_tiles) * Tile::columns;
  StageCopies<Tile, Warp> copies(warp, arguments, product, first_column, first_row);
  TileSums<Tile, Warp> sums(warp);
  run_pipeline(warp, copies, sums, arguments.stages, product.taps * product.tap_steps);
  store_sums<Tile>(
      warp, sums, finish_of(arguments, product), first_column, product.columns, first_row,
      [&](std::int64_t column) { return outputs_of(arguments, product, column); });
}

}  // namespace vp3d::cuda
