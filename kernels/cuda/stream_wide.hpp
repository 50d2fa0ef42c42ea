// One phase of a step of many streams: as many columns share each pass over the weights as a block's
// tile has, and the launch of a phase has as many blocks as tiles. Tiles, pipeline and sums are those
// of clip_tile.hpp; the columns lie in the places of their streams, tap by tap.
#pragma once

#include "clip_group.hpp"
#include "stream_split.hpp"
#include "stream_step.hpp"

namespace vp3d::cuda {

// What a kernel is given: one phase's products of one type.
struct WideArguments : Arguments {
  std::int32_t products[kClipProducts], blocks[kClipProducts], row_tiles[kClipProducts];
  std::int32_t stages;
  std::int32_t splits;        // of each product along its inputs; 1: tiles are a block's alone
  std::int32_t keeps_inputs;  // the step's first launch: this frame's inputs, for frames to come
};

// Which product of the launch is the block's, which tile of it, and which of its steps.
struct WideTile {
  const Product* product;
  int first_row, first_column;
  int first_step, steps;
  int split;         // its number
  int block, tiles;  // of the tile's first split; from there to the next
};

// What one warp copies for each step, as StageCopies does. Where a tap's columns are is found anew for
// each tap. Weights and tables do not change: only the rest waits for what was launched before.
template <class Tile, class Warp>
class PlaceCopies {
 public:
  VP3D_HD PlaceCopies(Warp& warp, const Launch& launch, const WideTile& own)
      : launch_(launch),
        product_(*own.product),
        first_column_(own.first_column),
        first_fragment_(warp.index() * Tile::own_columns),
        tap_steps_(product_.tap_steps),
        steps_left_(own.steps),
        tap_(own.first_step / tap_steps_),
        skipped_(own.first_step % tap_steps_) {
    const auto* table = launch.table<std::int64_t>(product_.tile_table);
    const int tile = own.first_row / kTileRows + warp.index() * Tile::own_rows;
    const int tiles = static_cast<int>(ceil_div(product_.rows, kTileRows));
    tiles_left_ = tiles - tile;
    VP3D_UNROLL
    for (int i = 0; i < Tile::own_rows; ++i)
      weights_[i] = launch.image + table[tile + i < tiles ? tile + i : tiles - 1] +
                    static_cast<std::int64_t>(own.first_step) * kFragmentBytes;
  }

  // The weights of the first `steps`, to as many stages, in the order in which copy_next comes to them.
  VP3D_HD void copy_ahead(Warp& warp, int steps) {
    const int most = steps < steps_left_ ? steps : steps_left_;
    for (; rows_ahead_ < most; ++rows_ahead_) copy_rows(warp, rows_ahead_ * Tile::stage_bytes);
  }

  // Whether the next step is of another tap, whose columns have to be found before.
  VP3D_HD bool turns() const { return tap_left_ == 0 && steps_left_ > 0; }
  VP3D_HD void turn(Warp& warp) { find_columns(warp); }

  VP3D_HD void copy_next(Warp& warp, int stage) {
    if (steps_left_ > 0) {
      const int columns = stage + first_fragment_ * kFragmentBytes;
      warp.lanes([&](int lane) {
        VP3D_UNROLL
        for (int i = 0; i < Tile::own_columns; ++i) {
          warp.copy(columns + i * kFragmentBytes + Tile::lane_offset(lane), inputs_[i][lane],
                    (there_[lane] >> i & 1) != 0);
          inputs_[i][lane] += kStepBytes;
        }
      });
      if (rows_ahead_ > 0)
        --rows_ahead_;
      else
        copy_rows(warp, stage);
      --steps_left_;
      --tap_left_;
    }
    warp.end_copies();
  }

 private:
  VP3D_HD void copy_rows(Warp& warp, int stage) {
    const int rows = stage + (Tile::column_fragments + warp.index() * Tile::own_rows) *
                                 kFragmentBytes;
    warp.lanes([&](int lane) {
      VP3D_UNROLL
      for (int i = 0; i < Tile::own_rows; ++i)
        warp.copy(rows + i * kFragmentBytes + Tile::lane_offset(lane),
                  weights_[i] + lane * kLaneBytes, i < tiles_left_);
    });
    VP3D_UNROLL
    for (int i = 0; i < Tile::own_rows; ++i) weights_[i] += kFragmentBytes;
  }

  VP3D_HD void find_columns(Warp& warp) {
    const int columns = product_.columns * launch_.rows();
    warp.lanes([&](int lane) {
      int there = 0;
      VP3D_UNROLL
      for (int i = 0; i < Tile::own_columns; ++i) {
        const int wanted = first_column_ + (first_fragment_ + i) * kTileRows + lane_row(lane);
        const int column = wanted < columns ? wanted : columns - 1;
        there |= wanted < columns ? 1 << i : 0;
        inputs_[i][lane] = input_of(launch_, product_, column / product_.columns,
                                    column % product_.columns, tap_) +
                           skipped_ * kStepBytes + input_offset(lane);
      }
      there_[lane] = there;
    });
    ++tap_;
    tap_left_ = tap_steps_ - skipped_;
    skipped_ = 0;
  }

  const Launch& launch_;
  const Product& product_;
  const int first_column_, first_fragment_, tap_steps_;
  int steps_left_, tap_left_ = 0, tap_, tiles_left_ = 0;
  int skipped_;         // steps of the first tap
  int rows_ahead_ = 0;  // steps whose weights are under way already
  const std::byte* weights_[Tile::own_rows];
  typename Warp::template PerLane<const std::byte*> inputs_[Tile::own_columns];
  typename Warp::template PerLane<int> there_;
};

VP3D_HD Finish finish_of(const Launch& launch, const Product& product) {
  const bool answers = product.role == Role::shrink;
  return {launch.table<float>(product.bias),
          product.type == Number::i8 ? launch.table<float>(product.scale) : nullptr,
          product.rows,
          !answers,
          product.role == Role::mix,
          answers,
          product.narrow,
          product.quantum};
}

// As keep_inputs, by a warp: every n-th row is one's own.
template <class Warp>
VP3D_HD void keep_rows(Warp& warp, const Launch& launch, int first, int stride) {
  const Product& product = launch.near_table<Product>(launch.header().product_table)[0];
  const auto words = static_cast<int>(product.below.bytes / kLaneBytes);
  for (int index = first; index < launch.rows(); index += stride) {
    const Row row = launch.row(index);
    std::byte* to = launch.place(row) + own_offset(product.below, 0, row.frames, false);
    warp.lanes([&](int lane) {
      for (int word = lane; word < words; word += kLanes)
        *reinterpret_cast<Words*>(to + word * kLaneBytes) =
            load(launch.input(index) + word * kLaneBytes);
    });
  }
}

// Blocks of a product are its tiles, once for each split of them.
template <class Tile>
VP3D_HD WideTile wide_tile(const WideArguments& arguments, const Launch& launch, int block) {
  const int which = block < arguments.blocks[0] ? 0 : 1;
  const int first = which == 0 ? 0 : arguments.blocks[0];
  const int splits = arguments.splits, tiles = arguments.blocks[which] / splits;
  const int own = (block - first) % tiles, split = (block - first) / tiles;
  const Product& product =
      launch.near_table<Product>(launch.header().product_table)[arguments.products[which]];
  const int steps = product.taps * product.tap_steps;
  const int first_step = first_step_of(steps, split, splits);
  return {&product,
          own % arguments.row_tiles[which] * Tile::rows,
          own / arguments.row_tiles[which] * Tile::columns,
          first_step,
          first_step_of(steps, split + 1, splits) - first_step,
          split,
          first + own,
          tiles};
}

template <class Tile>
VP3D_HD Split split_of(const WideArguments& arguments, const WideTile& tile) {
  constexpr std::int64_t bytes = split_bytes(Tile::columns, Tile::rows);
  return {tile.split, arguments.splits,
          arguments.workspace + kSplitCountBytes + tile.block * bytes, tile.tiles * bytes,
          reinterpret_cast<std::uint32_t*>(arguments.workspace) + tile.block};
}

template <class Tile, class Sums, class Run, class Warp>
VP3D_HD void run_wide(Warp& warp, const WideArguments& arguments, int block, int blocks,
                      const Run& run) {
  const Launch launch(arguments);
  const WideTile tile = wide_tile<Tile>(arguments, launch, block);
  const Product& product = *tile.product;
  PlaceCopies<Tile, Warp> copies(warp, launch, tile);
  // Until here, and no further, a launch may run while the one before it does: it has read the image
  // alone, which no launch changes, and has written to nothing but its shared memory.
  copies.copy_ahead(warp, arguments.stages - Sums::stages_free);
  warp.await_previous_launch();
  warp.let_next_launch_begin();
  if (arguments.keeps_inputs != 0)
    keep_rows(warp, launch, block * Tile::warps + warp.index(), blocks * Tile::warps);
  Sums sums(warp);
  run(copies, sums, tile.steps);
  if (arguments.splits > 1 && !join_splits<Tile>(warp, sums, split_of<Tile>(arguments, tile)))
    return;
  store_sums<Tile>(warp, sums, finish_of(launch, product), tile.first_column,
                   product.columns * launch.rows(), tile.first_row, [&](std::int64_t column) {
                     return outputs_of(launch, product, static_cast<int>(column));
                   });
}

template <class Tile, class Warp>
VP3D_HD void run_wide_phase(Warp& warp, const WideArguments& arguments, int block, int blocks) {
  run_wide<Tile, TileSums<Tile, Warp>>(
      warp, arguments, block, blocks, [&](auto& copies, auto& sums, int steps) {
        run_pipeline(warp, copies, sums, arguments.stages, steps);
      });
}

// By warpgroups.
template <class Tile, class Warp>
VP3D_HD void run_wide_group(Warp& warp, const WideArguments& arguments, int block, int blocks) {
  run_wide<Tile, GroupSums<Tile, Warp>>(
      warp, arguments, block, blocks, [&](auto& copies, auto& sums, int steps) {
        run_group_pipeline<0>(warp, copies, sums, arguments.stages, steps);
      });
}

}  // namespace vp3d::cuda
