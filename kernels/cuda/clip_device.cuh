// A warp on the device, as clip_product.hpp uses it.
#pragma once

#include "device.cuh"

extern __shared__ __align__(1024) unsigned char vp3d_shared[];

namespace vp3d::cuda {

class DeviceClipWarp : public DeviceWarp {
 public:
  __device__ __forceinline__ void barrier() { __syncthreads(); }
  // Of the lanes.
  __device__ __forceinline__ void sync() { __syncwarp(); }

  __device__ __forceinline__ Words fetch(int offset) const {
    return *reinterpret_cast<const Words*>(vp3d_shared + offset);
  }
  template <class T>
  __device__ __forceinline__ void put(int offset, T value) {
    *reinterpret_cast<T*>(vp3d_shared + offset) = value;
  }
  template <class T>
  __device__ __forceinline__ T get(int offset) const {
    return *reinterpret_cast<const T*>(vp3d_shared + offset);
  }

  // 16 bytes, or zeros. Below sm_80 they have landed when this returns.
  __device__ __forceinline__ void copy(int to, const std::byte* from, bool there) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)),
                 "l"(global(from)), "r"(there ? 16 : 0)
                 : "memory");
#else
    put(to, there ? load(from) : Words{});
#endif
  }

  // The same with 4 bytes, for columns that are not aligned.
  __device__ __forceinline__ void copy_number(int to, const std::byte* from, bool there) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address(to)),
                 "l"(global(from)), "r"(there ? 4 : 0)
                 : "memory");
#else
    put(to, there ? *reinterpret_cast<const std::uint32_t*>(from) : 0U);
#endif
  }

  __device__ __forceinline__ void end_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }

  // Until all groups but the last `left` have landed. How many is part of the instruction.
  __device__ __forceinline__ void await_copies(int left) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if (left == 2)
      asm volatile("cp.async.wait_group 2;" ::: "memory");
    else if (left >= 4)
      asm volatile("cp.async.wait_group 4;" ::: "memory");
    else if (left == 3)
      asm volatile("cp.async.wait_group 3;" ::: "memory");
    else if (left == 1)
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    else
      asm volatile("cp.async.wait_group 0;" ::: "memory");
#endif
  }

 protected:
  static __device__ __forceinline__ std::uint32_t address(int offset) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(vp3d_shared + offset));
  }
  static __device__ __forceinline__ std::uint64_t global(const std::byte* from) {
    return static_cast<std::uint64_t>(__cvta_generic_to_global(from));
  }
};

}  // namespace vp3d::cuda
