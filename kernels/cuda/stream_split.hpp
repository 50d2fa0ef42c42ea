// Products of a step of many streams that are split along their inputs ("split-K"), where there are
// fewer tiles than multiprocessors: several blocks sum over a share of a tile's steps each, leave
// their sums in the workspace, and the one that comes last adds them up and finishes the tile.
//
// Splits are added in their order, whichever came last, so that answers are the same bits from run to
// run. Nobody waits for anybody: blocks need not be on the device at the same time.
#pragma once

#include "clip_product.hpp"

namespace vp3d::cuda {

constexpr int kMostSplits = 8;
// Of a launch whose products are split. The workspace begins with as many counts, of the splits of
// each tile that have come; they are zero before a launch and behind it.
constexpr std::int64_t kMostSplitBlocks = 1024;
constexpr std::int64_t kSplitCountBytes = kMostSplitBlocks * 4;

// A block's share of a tile.
struct Split {
  int number, count;       // which one it is, of how many
  std::byte* sums;         // where the tile's first leaves its sums
  std::int64_t apart;      // and how much further on the next does
  std::uint32_t* arrived;  // the tile's count
};

// Steps of a product are shared out as evenly as they can be.
VP3D_HD constexpr int first_step_of(int steps, int split, int splits) {
  return steps * split / splits;
}

// All sums of a block, as its lanes hold them: those of a warp lie together, and in them 16 bytes of
// each lane side by side, so that memory is written and read in whole lines.
VP3D_HD constexpr std::int64_t split_bytes(int columns, int rows) {
  return std::int64_t{4} * columns * rows;
}

template <class Tile, class Sums, class Warp>
class SplitSums {
 public:
  VP3D_HD SplitSums(const Warp& warp, const Split& split)
      : split_(split), own_(split.sums + warp.index() * kBytes) {}

  VP3D_HD void leave(Warp& warp, const Sums& sums) const {
    std::byte* to = own_ + split_.number * split_.apart;
    VP3D_UNROLL
    for (int i = 0; i < kFours; ++i)
      warp.lanes([&](int lane) {
        warp.leave(to + i * kFragmentBytes + lane * kLaneBytes,
                   bits_to<Words>(sums.of[i / Sums::n][i % Sums::n][lane]));
      });
  }

  // Others' sums to one's own, or, where these are not the first, to zero, and one's own in their turn:
  // of two the order makes no difference.
  VP3D_HD void collect(Warp& warp, Sums& sums) const {
    const bool keeps = split_.number == 0 || split_.count == 2;
    VP3D_UNROLL
    for (int first = 0; first < kFours; first += kAtOnce) {
      VP3D_NO_UNROLL
      for (int number = 0; number < split_.count; ++number)
        if (!keeps || number != split_.number)
          add(warp, sums, first, own_ + number * split_.apart, keeps || number > 0);
    }
  }

 private:
  using Four = typename Sums::Four;
  static constexpr int kFours = Sums::m * Sums::n;
  static constexpr int kBytes = kFours * kFragmentBytes;
  // Asked for before any is needed: as many as there are registers for.
  static constexpr int kAtOnce = kFours < 16 ? kFours : 16;
  static_assert(kBytes * Tile::warps == split_bytes(Tile::columns, Tile::rows),
                "a block's warps have all of its sums");
  static_assert(sizeof(Four) == sizeof(Words), "a lane's sums of an mma are read at once");

  VP3D_HD void add(Warp& warp, Sums& sums, int first, const std::byte* from, bool to_sums) const {
    typename Warp::template PerLane<Words> found[kAtOnce];
    VP3D_UNROLL
    for (int i = 0; i < kAtOnce; ++i)
      warp.lanes([&](int lane) {
        found[i][lane] = warp.collect(from + (first + i) * kFragmentBytes + lane * kLaneBytes);
      });
    VP3D_UNROLL
    for (int i = 0; i < kAtOnce; ++i)
      warp.lanes([&](int lane) {
        Four& sum = sums.of[(first + i) / Sums::n][(first + i) % Sums::n][lane];
        const Four other = bits_to<Four>(found[i][lane]);
        for (int k = 0; k < 4; ++k) sum.of[k] = to_sums ? sum.of[k] + other.of[k] : other.of[k];
      });
  }

  const Split& split_;
  std::byte* const own_;  // a warp's part of the first split
};

// Leaves a block's sums for the others of its tile. True: they had all come before, and these sums are
// those of the whole product now.
template <class Tile, class Sums, class Warp>
VP3D_HD bool join_splits(Warp& warp, Sums& sums, const Split& split) {
  const SplitSums<Tile, Sums, Warp> all(warp, split);
  all.leave(warp, sums);
  warp.barrier();  // all warps have left theirs, and none reads the pipeline's memory any more
  if (warp.index() == 0)
    warp.lanes([&](int lane) {
      if (lane == 0) warp.put(0, warp.arrives_last(split.arrived, split.count) ? 1 : 0);
    });
  warp.barrier();
  if (warp.template get<int>(0) == 0) return false;
  all.collect(warp, sums);
  return true;
}

}  // namespace vp3d::cuda
