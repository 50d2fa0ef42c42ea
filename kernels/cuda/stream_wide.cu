// The kernels of steps of many streams (wide_plan.hpp says how they are launched).
#include "clip_kernels.hpp"
#include "group_device.cuh"
#include "stream_wide.hpp"

using vp3d::cuda::WideArguments;

#define VP3D_STREAM_TILE(name, Tile, blocks)                                              \
  extern "C" __global__ void __launch_bounds__(Tile::warps* vp3d::cuda::kLanes, blocks) \
      name(const __grid_constant__ WideArguments arguments) {                             \
    vp3d::cuda::DeviceClipWarp warp;                                                      \
    vp3d::cuda::run_wide_phase<Tile>(warp, arguments, static_cast<int>(blockIdx.x),       \
                                     static_cast<int>(gridDim.x));                        \
  }

#define VP3D_STREAM_GROUP(name, Tile)                                                     \
  extern "C" __global__ void __launch_bounds__(Tile::warps* vp3d::cuda::kLanes, 1)        \
      name(const __grid_constant__ WideArguments arguments) {                             \
    VP3D_BY_WARPGROUPS(vp3d::cuda::run_wide_group<Tile>(                                  \
        warp, arguments, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x)));     \
  }

VP3D_STREAM_GROUP(vp3d_stream_group_f16, vp3d::cuda::GroupF16)
VP3D_STREAM_GROUP(vp3d_stream_group_i8, vp3d::cuda::GroupI8)
VP3D_STREAM_TILE(vp3d_stream_huge_f16, vp3d::cuda::HugeF16, 1)
VP3D_STREAM_TILE(vp3d_stream_huge_i8, vp3d::cuda::HugeI8, 1)
VP3D_STREAM_TILE(vp3d_stream_wide_f16, vp3d::cuda::WideF16, 2)
VP3D_STREAM_TILE(vp3d_stream_wide_i8, vp3d::cuda::WideI8, 2)
VP3D_STREAM_TILE(vp3d_stream_tall_f16, vp3d::cuda::TallF16, 3)
VP3D_STREAM_TILE(vp3d_stream_tall_i8, vp3d::cuda::TallI8, 3)
VP3D_STREAM_TILE(vp3d_stream_tile_f32, vp3d::cuda::TileF32, 3)
VP3D_STREAM_TILE(vp3d_stream_tile_f16, vp3d::cuda::TileF16, 4)
VP3D_STREAM_TILE(vp3d_stream_tile_i8, vp3d::cuda::TileI8, 4)
