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

  // Programmatic dependent launch, from Hopper on: all launches before have ended, and what they wrote
  // is seen; and the next may begin, whose threads come to the former in turn. Neither does anything
  // where launches were not asked to overlap.
  __device__ __forceinline__ void await_previous_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  }
  __device__ __forceinline__ void let_next_launch_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
  }

  // Sums for other blocks, and theirs (stream_split.hpp): past the first-level cache, which does not
  // know what other multiprocessors write.
  __device__ __forceinline__ void leave(std::byte* to, const Words& sums) {
    asm volatile("st.global.cg.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(global(to)),
                 "r"(sums.word[0]), "r"(sums.word[1]), "r"(sums.word[2]), "r"(sums.word[3])
                 : "memory");
  }
  __device__ __forceinline__ Words collect(const std::byte* from) const {
    Words sums;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(sums.word[0]), "=r"(sums.word[1]), "=r"(sums.word[2]), "=r"(sums.word[3])
                 : "l"(global(from))
                 : "memory");
    return sums;
  }

  // One thread's, behind a barrier of the block: what all its threads have left until then is there
  // before this arrival is counted, and what those had left who arrived before is seen from then on,
  // behind another barrier by the whole block. The last arrival makes the count zero again.
  __device__ __forceinline__ bool arrives_last(std::uint32_t* arrived, int splits) {
    const auto last = static_cast<std::uint32_t>(splits - 1);
    std::uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(global(reinterpret_cast<const std::byte*>(arrived))), "r"(last)
                 : "memory");
    return before == last;
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
