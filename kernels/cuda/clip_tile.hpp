// Many columns: a block's tile of rows and columns, whose inputs and weights go through a pipeline
// of stages in shared memory, one step in each.
#pragma once

#include "clip_product.hpp"

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

  // The next step, to the stage at this offset of shared memory; and an end to the group, for
  // await_copies, also where no step is left.
  VP3D_HD void copy_next(Warp& warp, int stage) {
    if (steps_left_ > 0) {
      const int columns = stage + first_fragment_ * kFragmentBytes;
      const int rows = stage + (Tile::column_fragments + warp.index() * Tile::own_rows) *
                                   kFragmentBytes;
      warp.lanes([&](int lane) {
        copy_columns(warp, columns + lane * kLaneBytes, lane);
        VP3D_UNROLL
        for (int i = 0; i < Tile::own_rows; ++i)
          warp.copy(rows + i * kFragmentBytes + lane * kLaneBytes,
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

// What a warp keeps in shared memory while it stores: 16 columns of sums, whose pitch keeps lanes out
// of each other's banks, and where the outputs of each go.
template <class Tile>
struct StoreSpace {
  static constexpr int pitch = (Tile::across + 8) * 4;
  static constexpr int outputs = 16 * pitch;
  static constexpr int bytes = outputs + 16 * static_cast<int>(sizeof(Outputs));
};

// Stores a warp's sums, four rows of a column to a lane and a column's rows side by side, so that
// memory is read and written in whole lines. place_of(column) says where outputs go.
template <class Tile, class Warp, class PlaceOf>
class SumStore {
 public:
  using Sums = TileSums<Tile, Warp>;

  VP3D_HD SumStore(Warp& warp, const Finish& finish, std::int64_t first_column,
                   std::int64_t columns, std::int64_t first_row, const PlaceOf& place_of)
      : finish_(finish),
        first_column_(first_column),
        columns_(columns),
        first_row_(first_row),
        own_(warp.index() * Space::bytes),
        place_of_(place_of) {
    warp.lanes([&](int lane) { rows_[lane].load(finish, row_of(lane)); });
  }

  // The i-th 16 columns of the warp's. Residuals are asked for together, before they are needed.
  VP3D_HD void store(Warp& warp, Sums& sums, int i) {
    const std::int64_t first = first_column_ + i * 16;
    warp.lanes([&](int lane) {
      if (lane < 16 && first + lane < columns_)
        warp.put(place_at(lane), place_of_(first + lane));
    });
    warp.sync();
    typename Warp::template PerLane<Pack<float, 4>> residuals[kTurns];
    VP3D_UNROLL
    for (int turn = 0; turn < kTurns; ++turn)
      warp.lanes([&](int lane) {
        const int column = column_of(turn, lane);
        if (finish_.adds && first + column < columns_ && row_of(lane) < finish_.rows)
          residuals[turn][lane] = residual_of<4>(
              warp.template get<Outputs>(place_at(column)), row_of(lane));
      });
    put(warp, sums, i);
    warp.sync();
    VP3D_UNROLL
    for (int turn = 0; turn < kTurns; ++turn)
      warp.lanes([&](int lane) {
        const int column = column_of(turn, lane);
        if (first + column >= columns_ || row_of(lane) >= finish_.rows) return;
        finish_outputs(finish_, rows_[lane], warp.template get<Outputs>(place_at(column)),
                       row_of(lane),
                       warp.template get<Pack<Sum, 4>>(own_ + column * Space::pitch +
                                                       lane % kQuads * 16),
                       residuals[turn][lane]);
      });
    warp.sync();
  }

 private:
  using Space = StoreSpace<Tile>;
  using Sum = typename Arithmetic<Tile::type>::Sum;
  static constexpr int kQuads = Tile::across / 4;  // of rows
  static constexpr int kTurns = 16 * kQuads / kLanes;

  VP3D_HD static int column_of(int turn, int lane) {
    return turn * (kLanes / kQuads) + lane / kQuads;
  }
  VP3D_HD std::int64_t row_of(int lane) const { return first_row_ + lane % kQuads * 4; }
  VP3D_HD int place_at(int column) const {
    return own_ + Space::outputs + column * static_cast<int>(sizeof(Outputs));
  }

  VP3D_HD void put(Warp& warp, Sums& sums, int i) const {
    warp.lanes([&](int lane) {
      VP3D_UNROLL
      for (int j = 0; j < Sums::n; ++j) {
        const auto& four = sums.of[i][j][lane];
        VP3D_UNROLL
        for (int k = 0; k < 4; k += 2)
          warp.put(own_ + mma_column(lane, k) * Space::pitch +
                       (j * kTileRows + mma_row(lane, 0)) * 4,
                   Pack<Sum, 2>{{four.of[k], four.of[k + 1]}});
      }
    });
  }

  const Finish finish_;
  const std::int64_t first_column_, columns_, first_row_;
  const int own_;
  const PlaceOf& place_of_;
  typename Warp::template PerLane<RowFinish<4>> rows_;
};

template <class Tile, class Warp, class PlaceOf>
VP3D_HD void store_sums(Warp& warp, TileSums<Tile, Warp>& sums, const Finish& finish,
                        std::int64_t first_column, std::int64_t columns, std::int64_t first_row,
                        const PlaceOf& place_of) {
  SumStore<Tile, Warp, PlaceOf> store(warp, finish, first_column + sums.first_column, columns,
                                      first_row + sums.first_row, place_of);
  warp.barrier();  // every warp has read its last stage
  VP3D_UNROLL
  for (int i = 0; i < TileSums<Tile, Warp>::m; ++i) store.store(warp, sums, i);
}

// All steps: as many are under way as there are stages but one.
template <class Tile, class Copies, class Warp>
VP3D_HD void run_pipeline(Warp& warp, Copies& copies, TileSums<Tile, Warp>& sums, int stages,
                          int steps) {
  for (int stage = 0; stage + 1 < stages; ++stage)
    copies.copy_next(warp, stage * Tile::stage_bytes);
  int stage = 0;
  for (int step = 0; step < steps; ++step) {
    // All groups but those of the later steps: this step's copies, of this warp. Behind the barrier
    // those of all warps, and the stage of the step before is free.
    warp.await_copies(stages - 2);
    warp.barrier();
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
  store_sums(warp, sums, finish_of(arguments, product), first_column, product.columns, first_row,
             [&](std::int64_t column) { return outputs_of(arguments, product, column); });
}

}  // namespace vp3d::cuda
