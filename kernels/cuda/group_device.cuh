// What the warpgroups of sm_90a do, as clip_group.hpp uses it. The 64 sums of a thread are operands of
// one instruction, which goes on behind it: nobody may touch them until it is awaited.
#pragma once

#include "clip_device.cuh"
#include "clip_group.hpp"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
namespace vp3d::cuda {

// 64 columns by 128 rows, 16 halves of each.
template <class Sums>
__device__ __forceinline__ void multiply_group_halves(Sums (&c)[16], std::uint64_t a,
                                                      std::uint64_t b) {
  asm volatile(
      "{\n .reg .pred p;\n setp.ne.b32 p, %66, 0;\n"
      " wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, 0, 0;\n}"
      : "+f"(c[0].value.of[0]), "+f"(c[0].value.of[1]), "+f"(c[0].value.of[2]), "+f"(c[0].value.of[3]),
        "+f"(c[1].value.of[0]), "+f"(c[1].value.of[1]), "+f"(c[1].value.of[2]), "+f"(c[1].value.of[3]),
        "+f"(c[2].value.of[0]), "+f"(c[2].value.of[1]), "+f"(c[2].value.of[2]), "+f"(c[2].value.of[3]),
        "+f"(c[3].value.of[0]), "+f"(c[3].value.of[1]), "+f"(c[3].value.of[2]), "+f"(c[3].value.of[3]),
        "+f"(c[4].value.of[0]), "+f"(c[4].value.of[1]), "+f"(c[4].value.of[2]), "+f"(c[4].value.of[3]),
        "+f"(c[5].value.of[0]), "+f"(c[5].value.of[1]), "+f"(c[5].value.of[2]), "+f"(c[5].value.of[3]),
        "+f"(c[6].value.of[0]), "+f"(c[6].value.of[1]), "+f"(c[6].value.of[2]), "+f"(c[6].value.of[3]),
        "+f"(c[7].value.of[0]), "+f"(c[7].value.of[1]), "+f"(c[7].value.of[2]), "+f"(c[7].value.of[3]),
        "+f"(c[8].value.of[0]), "+f"(c[8].value.of[1]), "+f"(c[8].value.of[2]), "+f"(c[8].value.of[3]),
        "+f"(c[9].value.of[0]), "+f"(c[9].value.of[1]), "+f"(c[9].value.of[2]), "+f"(c[9].value.of[3]),
        "+f"(c[10].value.of[0]), "+f"(c[10].value.of[1]), "+f"(c[10].value.of[2]), "+f"(c[10].value.of[3]),
        "+f"(c[11].value.of[0]), "+f"(c[11].value.of[1]), "+f"(c[11].value.of[2]), "+f"(c[11].value.of[3]),
        "+f"(c[12].value.of[0]), "+f"(c[12].value.of[1]), "+f"(c[12].value.of[2]), "+f"(c[12].value.of[3]),
        "+f"(c[13].value.of[0]), "+f"(c[13].value.of[1]), "+f"(c[13].value.of[2]), "+f"(c[13].value.of[3]),
        "+f"(c[14].value.of[0]), "+f"(c[14].value.of[1]), "+f"(c[14].value.of[2]), "+f"(c[14].value.of[3]),
        "+f"(c[15].value.of[0]), "+f"(c[15].value.of[1]), "+f"(c[15].value.of[2]), "+f"(c[15].value.of[3])
      : "l"(a), "l"(b), "r"(1));
}

// The same of 32 bytes of each.
template <class Sums>
__device__ __forceinline__ void multiply_group_bytes(Sums (&c)[16], std::uint64_t a,
                                                     std::uint64_t b) {
  asm volatile(
      "{\n .reg .pred p;\n setp.ne.b32 p, %66, 0;\n"
      " wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p;\n}"
      : "+r"(c[0].value.of[0]), "+r"(c[0].value.of[1]), "+r"(c[0].value.of[2]), "+r"(c[0].value.of[3]),
        "+r"(c[1].value.of[0]), "+r"(c[1].value.of[1]), "+r"(c[1].value.of[2]), "+r"(c[1].value.of[3]),
        "+r"(c[2].value.of[0]), "+r"(c[2].value.of[1]), "+r"(c[2].value.of[2]), "+r"(c[2].value.of[3]),
        "+r"(c[3].value.of[0]), "+r"(c[3].value.of[1]), "+r"(c[3].value.of[2]), "+r"(c[3].value.of[3]),
        "+r"(c[4].value.of[0]), "+r"(c[4].value.of[1]), "+r"(c[4].value.of[2]), "+r"(c[4].value.of[3]),
        "+r"(c[5].value.of[0]), "+r"(c[5].value.of[1]), "+r"(c[5].value.of[2]), "+r"(c[5].value.of[3]),
        "+r"(c[6].value.of[0]), "+r"(c[6].value.of[1]), "+r"(c[6].value.of[2]), "+r"(c[6].value.of[3]),
        "+r"(c[7].value.of[0]), "+r"(c[7].value.of[1]), "+r"(c[7].value.of[2]), "+r"(c[7].value.of[3]),
        "+r"(c[8].value.of[0]), "+r"(c[8].value.of[1]), "+r"(c[8].value.of[2]), "+r"(c[8].value.of[3]),
        "+r"(c[9].value.of[0]), "+r"(c[9].value.of[1]), "+r"(c[9].value.of[2]), "+r"(c[9].value.of[3]),
        "+r"(c[10].value.of[0]), "+r"(c[10].value.of[1]), "+r"(c[10].value.of[2]), "+r"(c[10].value.of[3]),
        "+r"(c[11].value.of[0]), "+r"(c[11].value.of[1]), "+r"(c[11].value.of[2]), "+r"(c[11].value.of[3]),
        "+r"(c[12].value.of[0]), "+r"(c[12].value.of[1]), "+r"(c[12].value.of[2]), "+r"(c[12].value.of[3]),
        "+r"(c[13].value.of[0]), "+r"(c[13].value.of[1]), "+r"(c[13].value.of[2]), "+r"(c[13].value.of[3]),
        "+r"(c[14].value.of[0]), "+r"(c[14].value.of[1]), "+r"(c[14].value.of[2]), "+r"(c[14].value.of[3]),
        "+r"(c[15].value.of[0]), "+r"(c[15].value.of[1]), "+r"(c[15].value.of[2]), "+r"(c[15].value.of[3])
      : "l"(a), "l"(b), "r"(1));
}

class DeviceGroupWarp : public DeviceClipWarp {
 public:
  // What this thread has put, or has had copied, to shared memory; instructions that read it by
  // themselves see it from then on.
  __device__ __forceinline__ void publish_copies() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }

  __device__ __forceinline__ void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  }

  // Both operands by their offsets in shared memory.
  template <Number type, class Sums>
  __device__ __forceinline__ void multiply_group(Sums (&sums)[16], int columns, int rows) {
    const std::uint64_t a = group_operand(address(columns)), b = group_operand(address(rows));
    if constexpr (type == Number::f16)
      multiply_group_halves(sums, a, b);
    else
      multiply_group_bytes(sums, a, b);
  }

  __device__ __forceinline__ void end_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }

  // Until all products but those of the last `left` steps are done; 0 or 1.
  __device__ __forceinline__ void await_products(int left) {
    if (left == 0)
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    else
      asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  }
};

}  // namespace vp3d::cuda

// The body of a kernel for warpgroups: `run` with `warp`.
#define VP3D_BY_WARPGROUPS(run)       \
  vp3d::cuda::DeviceGroupWarp warp;   \
  run
#else
// Engines ask for vp3d_warpgroups (clip.cu) first.
#define VP3D_BY_WARPGROUPS(run) __trap()
#endif
