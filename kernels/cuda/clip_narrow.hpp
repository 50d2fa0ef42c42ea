// Few columns: all warps of a block share 8 rows and up to 32 columns, each taking every n-th step
// straight from memory. Of a small batch this keeps more of a device at work than tiles do.
#pragma once

#include "clip_product.hpp"

namespace vp3d::cuda {

constexpr int kNarrowColumns = 32;
constexpr int kNarrowWarps = 16;
constexpr int kNarrowPartial = kNarrowColumns * kTileRows * 4;  // of one warp
constexpr int kNarrowBytes = kNarrowWarps * kNarrowPartial;

// A lane's 16 bytes of a column's step; zeros for columns that are not there.
template <Number type>
VP3D_HD Words narrow_input(const ClipProduct& product, const Walk& walk, const std::byte* column,
                           int lane) {
  Words words = {};
  if (column == nullptr) return words;
  if constexpr (type == Number::f32) {
    if (product.dense_inputs > 0) {
      const int numbers = walk.dense(lane);
      for (int k = 0; k < 4; ++k)
        if (numbers > k)
          words.word[k] = *reinterpret_cast<const std::uint32_t*>(column + walk.inputs() + k * 4);
      return words;
    }
  }
  return load(column + walk.inputs());
}

template <Number type, class Warp>
class NarrowSums {
 public:
  struct Four {
    typename Arithmetic<type>::Sum of[4];
  };
  static constexpr int m = kNarrowColumns / 16;

  VP3D_HD NarrowSums(Warp& warp, const ClipArguments& arguments, const ClipProduct& product,
                     std::int64_t first_column)
      : product_(product), columns_left_(product.columns - first_column) {
    const std::byte* below = columns_below(arguments, product);
    for (int i = 0; i < 2 * m; ++i)
      warp.lanes([&](int lane) {
        const std::int64_t column = first_column + i * kTileRows + lane_row(lane);
        columns_[i][lane] =
            column < product.columns ? column_start(below, product, column, lane) : nullptr;
      });
    for (int i = 0; i < m; ++i) warp.lanes([&](int lane) { of_[i][lane] = Four{}; });
  }

  VP3D_HD void add(Warp& warp, const std::byte* tile) {
    Walk walk(product_);
    for (walk.advance(warp.index()); !walk.ended(); walk.advance(kNarrowWarps)) {
      typename Warp::template PerLane<Words> weights, low, high;
      warp.lanes([&](int lane) {
        weights[lane] = load(tile + walk.weights() + lane * kLaneBytes);
      });
      VP3D_UNROLL
      for (int i = 0; i < m; ++i) {
        if (i * 16 >= columns_left_) break;
        warp.lanes([&](int lane) {
          low[lane] = narrow_input<type>(product_, walk, columns_[2 * i][lane], lane);
          high[lane] = narrow_input<type>(product_, walk, columns_[2 * i + 1][lane], lane);
        });
        warp.template multiply_add<type>(of_[i], low, high, weights);
      }
    }
  }

  // To shared memory: rows of each column, one column behind the other, one warp behind the other.
  VP3D_HD void put(Warp& warp) {
    for (int i = 0; i < m; ++i)
      warp.lanes([&](int lane) {
        for (int k = 0; k < 4; ++k) {
          const int at = (i * 16 + mma_column(lane, k)) * kTileRows + mma_row(lane, k);
          warp.put(warp.index() * kNarrowPartial + at * 4, of_[i][lane].of[k]);
        }
      });
  }

 private:
  const ClipProduct& product_;
  const std::int64_t columns_left_;
  typename Warp::template PerLane<const std::byte*> columns_[2 * m];
  typename Warp::template PerLane<Four> of_[m];
};

template <Number type, class Warp>
VP3D_HD void run_clip_narrow(Warp& warp, const ClipArguments& arguments, int block) {
  using Sum = typename Arithmetic<type>::Sum;
  const ClipProduct& product = product_of(arguments, block);
  const int own = own_block(arguments, block);
  const int tile = own % product.row_tiles;
  const std::int64_t first = static_cast<std::int64_t>(own / product.row_tiles) * kNarrowColumns;
  NarrowSums<type, Warp> sums(warp, arguments, product, first);
  sums.add(warp, arguments.image + product.weights +
                     static_cast<std::int64_t>(tile) * product.taps * product.tap_steps *
                         kFragmentBytes);
  sums.put(warp);
  warp.barrier();
  // Two outputs to a thread; the warps' sums in their order.
  const Finish finish = finish_of(arguments, product);
  warp.lanes([&](int lane) {
    const int pair = warp.index() * kLanes + lane;
    const std::int64_t column = first + pair / (kTileRows / 2);
    const std::int64_t row = tile * kTileRows + pair % (kTileRows / 2) * 2;
    if (pair >= kNarrowColumns * kTileRows / 2 || column >= product.columns || row >= finish.rows)
      return;
    Pack<Sum, 2> two = {};
    for (int from = 0; from < kNarrowWarps; ++from)
      for (int k = 0; k < 2; ++k)
        two.of[k] += warp.template get<Sum>(from * kNarrowPartial + (pair * 2 + k) * 4);
    RowFinish<2> rows;
    rows.load(finish, row);
    const Outputs outputs = outputs_of(arguments, product, column);
    Pack<float, 2> residual = {};
    if (finish.adds) residual = residual_of<2>(outputs, row);
    finish_outputs(finish, rows, outputs, row, two, residual);
  });
}

}  // namespace vp3d::cuda
