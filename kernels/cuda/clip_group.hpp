// Tiles for the multiplications of warpgroups that Hopper (sm_90a) brought. Four warps together
// multiply 64 columns by 128 rows, whose operands the instruction reads from shared memory by itself,
// and go on while it does. Fragments and copies are those of clip_tile.hpp; within a fragment, chunks
// of 16 bytes are exchanged as the instruction's "64-byte swizzle" has it.
#pragma once

#include "clip_tile.hpp"

namespace vp3d::cuda {

template <Number number, int block_columns, int block_rows>
struct GroupTile {
  static constexpr Number type = number;
  static constexpr int columns = block_columns, rows = block_rows;
  static constexpr int group_columns = 128;  // two times 64, of four warps
  static constexpr int across = rows;
  static constexpr int warps = columns / group_columns * 4;
  static constexpr int column_fragments = columns / kTileRows, row_fragments = rows / kTileRows;
  static constexpr int own_columns = column_fragments / warps, own_rows = row_fragments / warps;
  static constexpr int stage_bytes = (column_fragments + row_fragments) * kFragmentBytes;
  static_assert(rows == 128, "as many as the instruction multiplies");
  static_assert(own_columns * warps == column_fragments && own_rows * warps == row_fragments,
                "each warp copies as much as the others");

  // Where a lane's 16 bytes of a fragment are.
  static VP3D_HD constexpr int lane_offset(int lane) {
    const int row = lane_row(lane);
    return row * kStepBytes + (lane_quarter(lane) ^ (row / 2 % 4)) * kLaneBytes;
  }
};

// What the instruction is told of an operand that begins `address` bytes into shared memory: rows of
// 64 bytes in groups of 8, one group right behind the other. A fragment begins at a multiple of 512,
// and its second half 32 bytes later.
VP3D_HD constexpr std::uint64_t group_operand(std::uint32_t address) {
  constexpr std::uint64_t kSwizzle64 = 2;
  constexpr std::uint64_t unused = 1;  // of swizzled operands: a distance along the inputs
  return static_cast<std::uint64_t>((address & 0x3FFFFU) >> 4) | unused << 16 |
         static_cast<std::uint64_t>(kFragmentBytes >> 4) << 32 | kSwizzle64 << 62;
}

// A warp's share of its group's sums: 16 of each 64 columns, and all rows.
template <class Tile, class Warp>
struct GroupSums {
  struct Four {
    typename Arithmetic<Tile::type>::Sum of[4];
  };
  static constexpr int m = Tile::group_columns / 64, n = Tile::across / kTileRows;
  static constexpr int stages_free = 2;  // of a pipeline that is filled before the first step

  typename Warp::template PerLane<Four> of[m][n];
  const int first_fragment;  // of the group's columns
  const int first_column, first_row = 0;

  VP3D_HD explicit GroupSums(Warp& warp)
      : first_fragment(warp.index() / 4 * (Tile::group_columns / kTileRows)),
        first_column(warp.index() / 4 * Tile::group_columns + warp.index() % 4 * 16) {
    VP3D_UNROLL
    for (int i = 0; i < m; ++i) {
      VP3D_UNROLL
      for (int j = 0; j < n; ++j) warp.lanes([&](int lane) { of[i][j][lane] = Four{}; });
    }
  }

  VP3D_HD int column_of(int i) const { return first_column + i * 64; }

  // Begins, and does not wait.
  VP3D_HD void add_stage(Warp& warp, int stage) {
    warp.begin_products();
    VP3D_UNROLL
    for (int i = 0; i < m; ++i) {
      VP3D_UNROLL
      for (int half = 0; half < kStepBytes; half += kStepBytes / 2)
        warp.template multiply_group<Tile::type>(
            of[i], stage + (first_fragment + i * 8) * kFragmentBytes + half,
            stage + Tile::column_fragments * kFragmentBytes + half);
    }
    warp.end_products();
  }
};

// As run_pipeline, but products run behind by so many steps, 0 or 1: a stage is free when the step
// after it is under way. The compiler lets products run on through the next step where little else
// happens in it (its warning C7515), which is not so where taps have to be found.
template <int behind, class Tile, class Copies, class Warp>
VP3D_HD void run_group_pipeline(Warp& warp, Copies& copies, GroupSums<Tile, Warp>& sums,
                                int stages, int steps) {
  for (int stage = 0; stage + 2 < stages; ++stage) {
    if (copies.turns()) copies.turn(warp);
    copies.copy_next(warp, stage * Tile::stage_bytes);
  }
  int stage = 0, next = stages - 2;
  for (int step = 0; step < steps; ++step) {
    // This step's copies of this warp, made visible to the instruction; behind the barrier those of
    // all warps, and all have ended the products of the step before the last.
    warp.await_copies(stages - 3);
    warp.publish_copies();
    warp.barrier();
    if (copies.turns()) copies.turn(warp);
    copies.copy_next(warp, next * Tile::stage_bytes);
    sums.add_stage(warp, stage * Tile::stage_bytes);
    warp.await_products(behind);
    if (++stage == stages) stage = 0;
    if (++next == stages) next = 0;
  }
  warp.await_products(0);
}

template <class Tile, class Warp>
VP3D_HD void run_clip_group(Warp& warp, const ClipArguments& arguments, int block) {
  const ClipProduct& product = product_of(arguments, block);
  const int own = own_block(arguments, block);
  const std::int64_t first_row = static_cast<std::int64_t>(own % product.row_tiles) * Tile::rows;
  const std::int64_t first_column =
      static_cast<std::int64_t>(own / product.row_tiles) * Tile::columns;
  StageCopies<Tile, Warp> copies(warp, arguments, product, first_column, first_row);
  GroupSums<Tile, Warp> sums(warp);
  run_group_pipeline<1>(warp, copies, sums, arguments.stages, product.taps * product.tap_steps);
  store_sums<Tile>(
      warp, sums, finish_of(arguments, product), first_column, product.columns, first_row,
      [&](std::int64_t column) { return outputs_of(arguments, product, column); });
}

}  // namespace vp3d::cuda
