// Which kernels there are for windows and sequences, and for steps of many streams, by name, and
// what a launch of each takes.
#pragma once

#include "clip_group.hpp"
#include "clip_narrow.hpp"
#include "clip_tile.hpp"

namespace vp3d::cuda {

// Of sm_90a alone.
using GroupF16 = GroupTile<Number::f16, 256, 128>;
using GroupI8 = GroupTile<Number::i8, 256, 128>;
// The larger a tile, the less of the second-level cache is read for each multiplication.
using HugeF16 = ClipTile<Number::f16, 256, 128, 64, 64>;
using HugeI8 = ClipTile<Number::i8, 256, 128, 64, 64>;
using WideF16 = ClipTile<Number::f16, 128, 128, 64, 64>;
using WideI8 = ClipTile<Number::i8, 128, 128, 64, 64>;
using TallF16 = ClipTile<Number::f16, 128, 64, 64, 32>;
using TallI8 = ClipTile<Number::i8, 128, 64, 64, 32>;
// Of float32 a warp's tile is small: each number becomes two for the tensor cores.
using TileF32 = ClipTile<Number::f32, 64, 64, 32, 32>;
using TileF16 = ClipTile<Number::f16, 64, 64, 32, 32>;
using TileI8 = ClipTile<Number::i8, 64, 64, 32, 32>;

// Steps of a pipeline that are in shared memory at once, at least; at most 6 (DeviceClipWarp).
constexpr int kLeastStages = 2;
constexpr int kLeastGroupStages = 4;

enum class ClipShape { group, huge, wide, tall, tile, narrow };

// What one block of a kernel does, and what it takes.
struct ClipKernel {
  const char* name;  // behind vp3d_clip_, and vp3d_stream_ but for narrow ones
  Number type;
  ClipShape shape;
  int columns, rows, threads;
  int stage_bytes;  // of shared memory; of narrow kernels, all of it
  int most_stages;  // more bring nothing
};

template <class Tile>
constexpr ClipKernel clip_kernel(const char* name, ClipShape shape) {
  static_assert(StoreSpace<Tile>::bytes * Tile::warps <= Tile::stage_bytes * kLeastStages,
                "sums are stored by way of the pipeline's memory");
  return {name, Tile::type, shape, Tile::columns, Tile::rows, Tile::warps * kLanes,
          Tile::stage_bytes, shape == ClipShape::wide ? 4 : 6};
}

constexpr ClipKernel clip_kernel(const char* name, Number type) {
  return {name, type, ClipShape::narrow, kNarrowColumns, kTileRows, kNarrowWarps * kLanes,
          kNarrowBytes, 1};
}

constexpr ClipKernel kClipKernels[] = {
    clip_kernel<GroupF16>("group_f16", ClipShape::group),
    clip_kernel<GroupI8>("group_i8", ClipShape::group),
    clip_kernel<HugeF16>("huge_f16", ClipShape::huge),
    clip_kernel<HugeI8>("huge_i8", ClipShape::huge),
    clip_kernel<WideF16>("wide_f16", ClipShape::wide),
    clip_kernel<WideI8>("wide_i8", ClipShape::wide),
    clip_kernel<TallF16>("tall_f16", ClipShape::tall),
    clip_kernel<TallI8>("tall_i8", ClipShape::tall),
    clip_kernel<TileF32>("tile_f32", ClipShape::tile),
    clip_kernel<TileF16>("tile_f16", ClipShape::tile),
    clip_kernel<TileI8>("tile_i8", ClipShape::tile),
    clip_kernel("narrow_f32", Number::f32),
    clip_kernel("narrow_f16", Number::f16),
    clip_kernel("narrow_i8", Number::i8),
};

}  // namespace vp3d::cuda
