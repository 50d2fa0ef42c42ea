// From the sums of a tile to its outputs, by way of shared memory.
#pragma once

#include "clip_product.hpp"

namespace vp3d::cuda {

// What a warp keeps in shared memory while it stores: sums of 16 columns and up to 64 rows, whose
// pitch keeps lanes out of each other's banks, and where the outputs of each column go.
template <class Tile>
struct StoreSpace {
  static constexpr int rows = Tile::across < 64 ? Tile::across : 64;
  static constexpr int pitch = (rows + 8) * 4;
  static constexpr int outputs = 16 * pitch;
  static constexpr int bytes = outputs + 16 * static_cast<int>(sizeof(Outputs));
};

// Stores a warp's sums, four rows of a column to a lane and a column's rows side by side, so that
// memory is read and written in whole lines. place_of(column) says where outputs go.
template <class Tile, class Warp, class PlaceOf>
class SumStore {
 public:
  VP3D_HD SumStore(Warp& warp, const Finish& finish, std::int64_t columns, std::int64_t first_row,
                   const PlaceOf& place_of)
      : finish_(finish),
        columns_(columns),
        first_row_(first_row),
        own_(warp.index() * Space::bytes),
        place_of_(place_of) {
    warp.lanes([&](int lane) { rows_[lane].load(finish, row_of(lane)); });
  }

  // 16 columns from `first` on, whose sums are the first of these. Residuals are asked for together,
  // before they are needed.
  template <class Fours>
  VP3D_HD void store(Warp& warp, const Fours* sums, std::int64_t first) {
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
    put(warp, sums);
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
  static constexpr int kQuads = Space::rows / 4;
  static constexpr int kTurns = 16 * kQuads / kLanes;

  static VP3D_HD int column_of(int turn, int lane) {
    return turn * (kLanes / kQuads) + lane / kQuads;
  }
  VP3D_HD std::int64_t row_of(int lane) const { return first_row_ + lane % kQuads * 4; }
  VP3D_HD int place_at(int column) const {
    return own_ + Space::outputs + column * static_cast<int>(sizeof(Outputs));
  }

  template <class Fours>
  VP3D_HD void put(Warp& warp, const Fours* sums) const {
    warp.lanes([&](int lane) {
      VP3D_UNROLL
      for (int j = 0; j < Space::rows / kTileRows; ++j) {
        const auto& four = sums[j][lane];
        VP3D_UNROLL
        for (int k = 0; k < 4; k += 2)
          warp.put(own_ + mma_column(lane, k) * Space::pitch +
                       (j * kTileRows + mma_row(lane, 0)) * 4,
                   Pack<Sum, 2>{{four.of[k], four.of[k + 1]}});
      }
    });
  }

  const Finish finish_;
  const std::int64_t columns_, first_row_;
  const int own_;
  const PlaceOf& place_of_;
  typename Warp::template PerLane<RowFinish<4>> rows_;
};

template <class Tile, class Warp, class Sums, class PlaceOf>
VP3D_HD void store_sums(Warp& warp, const Sums& sums, const Finish& finish,
                        std::int64_t first_column, std::int64_t columns, std::int64_t first_row,
                        const PlaceOf& place_of) {
  constexpr int rows = StoreSpace<Tile>::rows;
  warp.barrier();  // every warp has read its last stage
  VP3D_UNROLL
  for (int from = 0; from < Tile::across; from += rows) {
    SumStore<Tile, Warp, PlaceOf> store(warp, finish, columns, first_row + sums.first_row + from,
                                        place_of);
    VP3D_UNROLL
    for (int i = 0; i < Sums::m; ++i)
      store.store(warp, &sums.of[i][from / kTileRows], first_column + sums.column_of(i));
  }
}

}  // namespace vp3d::cuda
