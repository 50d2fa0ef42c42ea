// The kernels of windows and sequences (clip_plan.hpp says how they are launched).
#include "clip_device.cuh"
#include "clip_frames.hpp"
#include "clip_kernels.hpp"
#include "group_device.cuh"

using vp3d::cuda::ClipArguments;
using vp3d::cuda::ClipFrames;
using vp3d::cuda::DeviceClipWarp;

// Two blocks of the wide tiles are to be on a multiprocessor at once: one computes while the other
// stores.
#define VP3D_CLIP_TILE(name, Tile, blocks)                                                \
  extern "C" __global__ void __launch_bounds__(Tile::warps* vp3d::cuda::kLanes, blocks) \
      name(const __grid_constant__ ClipArguments arguments) {                             \
    DeviceClipWarp warp;                                                                  \
    vp3d::cuda::run_clip_tile<Tile>(warp, arguments, static_cast<int>(blockIdx.x));       \
  }
#define VP3D_CLIP_GROUP(name, Tile)                                                       \
  extern "C" __global__ void __launch_bounds__(Tile::warps* vp3d::cuda::kLanes, 1)        \
      name(const __grid_constant__ ClipArguments arguments) {                             \
    VP3D_BY_WARPGROUPS(vp3d::cuda::run_clip_group<Tile>(                                  \
        warp, arguments, static_cast<int>(blockIdx.x)));                                  \
  }
#define VP3D_CLIP_NARROW(name, type)                                                      \
  extern "C" __global__ void __launch_bounds__(                                           \
      vp3d::cuda::kNarrowWarps* vp3d::cuda::kLanes, 1)                                    \
      name(const __grid_constant__ ClipArguments arguments) {                             \
    DeviceClipWarp warp;                                                                  \
    vp3d::cuda::run_clip_narrow<type>(warp, arguments, static_cast<int>(blockIdx.x));     \
  }

VP3D_CLIP_GROUP(vp3d_clip_group_f16, vp3d::cuda::GroupF16)
VP3D_CLIP_GROUP(vp3d_clip_group_i8, vp3d::cuda::GroupI8)
VP3D_CLIP_TILE(vp3d_clip_huge_f16, vp3d::cuda::HugeF16, 1)
VP3D_CLIP_TILE(vp3d_clip_huge_i8, vp3d::cuda::HugeI8, 1)
VP3D_CLIP_TILE(vp3d_clip_wide_f16, vp3d::cuda::WideF16, 2)
VP3D_CLIP_TILE(vp3d_clip_wide_i8, vp3d::cuda::WideI8, 2)
VP3D_CLIP_TILE(vp3d_clip_tall_f16, vp3d::cuda::TallF16, 3)
VP3D_CLIP_TILE(vp3d_clip_tall_i8, vp3d::cuda::TallI8, 3)
VP3D_CLIP_TILE(vp3d_clip_tile_f32, vp3d::cuda::TileF32, 3)
VP3D_CLIP_TILE(vp3d_clip_tile_f16, vp3d::cuda::TileF16, 4)
VP3D_CLIP_TILE(vp3d_clip_tile_i8, vp3d::cuda::TileI8, 4)
VP3D_CLIP_NARROW(vp3d_clip_narrow_f32, vp3d::cuda::Number::f32)
VP3D_CLIP_NARROW(vp3d_clip_narrow_f16, vp3d::cuda::Number::f16)
VP3D_CLIP_NARROW(vp3d_clip_narrow_i8, vp3d::cuda::Number::i8)

// Whether group kernels can be launched, by whether it is there: code of other architectures, and PTX
// of plain 90 that a driver compiles for Hopper, have them by name and end in a trap.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
extern "C" __global__ void vp3d_warpgroups() {}
#endif

extern "C" __global__ void __launch_bounds__(vp3d::cuda::kFrameThreads)
    vp3d_clip_prepare(const __grid_constant__ ClipFrames frames) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index < vp3d::cuda::prepared_numbers(frames)) vp3d::cuda::prepare_number(frames, index);
}

extern "C" __global__ void __launch_bounds__(vp3d::cuda::kFrameThreads)
    vp3d_clip_finish(const __grid_constant__ ClipFrames frames) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index < vp3d::cuda::finished_numbers(frames)) vp3d::cuda::finish_number(frames, index);
}
