// Blocks and warps on the device, as product.hpp and stream_step.hpp use them.
#pragma once

#include "stream_step.hpp"

namespace vp3d::cuda {

class DeviceWarp {
 public:
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr bool kTensorCores = false;  // their shapes are others there
#else
  static constexpr bool kTensorCores = true;
#endif

  template <class T>
  struct PerLane {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
  };

  __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x) / kLanes; }

  template <class F>
  __device__ __forceinline__ void lanes(const F& f) {
    f(static_cast<int>(threadIdx.x) % kLanes);
  }

  // Every lane of a row gets the sum over the row's four lanes.
  template <class Sums>
  __device__ __forceinline__ void sum_of_quarters(PerLane<Sums>& sums, int i) {
    sums.value.of[i] += __shfl_xor_sync(0xFFFFFFFFU, sums.value.of[i], 1);
    sums.value.of[i] += __shfl_xor_sync(0xFFFFFFFFU, sums.value.of[i], 2);
  }

  // sums += (low, high) * weights, for the two halves of a step.
  template <Number type, class Sums>
  __device__ __forceinline__ void multiply_add(PerLane<Sums>& sums, const PerLane<Words>& low,
                                               const PerLane<Words>& high,
                                               const PerLane<Words>& weights) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    auto& c = sums.value.of;
    for (int half = 0; half < 4; half += 2) {
      const std::uint32_t *a = low.value.word + half, *b = high.value.word + half,
                          *w = weights.value.word + half;
      if constexpr (type == Number::f16)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(b[0]), "r"(a[1]), "r"(b[1]), "r"(w[0]), "r"(w[1]));
      else
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
            : "r"(a[0]), "r"(b[0]), "r"(a[1]), "r"(b[1]), "r"(w[0]), "r"(w[1]));
    }
#endif
  }
};

// Dynamic shared memory: one 8-byte mbarrier for each phase, the warps' sums, near tables and
// frame, staged weights.
constexpr int kMostPhases = 32;
constexpr int kBarrierBytes = kMostPhases * 8;
constexpr int kNearBytes = kNearTableBytes + kNearFrameBytes;
constexpr int kFixedBytes = kBarrierBytes + kPartialBytes + kNearBytes;

class DeviceBlock {
 public:
  using Warp = DeviceWarp;

  __device__ __forceinline__ DeviceBlock(std::byte* shared, unsigned long long* arrivals)
      : shared_(shared), arrivals_(arrivals) {}

  __device__ __forceinline__ int index() const { return static_cast<int>(blockIdx.x); }
  __device__ __forceinline__ int n_blocks() const { return static_cast<int>(gridDim.x); }
  __device__ __forceinline__ int n_warps() const { return static_cast<int>(blockDim.x) / kLanes; }
  __device__ __forceinline__ std::byte* partial() { return shared_ + kBarrierBytes; }
  __device__ __forceinline__ const std::byte* shared_weights() const {
    return shared_ + kFixedBytes;
  }
  __device__ __forceinline__ std::byte* near_tables() { return partial() + kPartialBytes; }
  __device__ __forceinline__ std::byte* near_frame() { return near_tables() + kNearTableBytes; }

  template <class F>
  __device__ __forceinline__ void warps(const F& f) {
    DeviceWarp warp;
    f(warp);
    __syncthreads();
  }

  template <class F>
  __device__ __forceinline__ void threads(const F& f) {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  // The count only grows, by the number of blocks for each barrier, so it needs no reset; in 64
  // bits it does not wrap. The fence makes what the whole block has written visible before the
  // arrival, and drops what was cached before the departure.
  __device__ __forceinline__ void grid_barrier() {
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      const unsigned long long n = gridDim.x;
      const unsigned long long target = (atomicAdd(arrivals_, 1ULL) / n + 1) * n;
      while (*static_cast<volatile unsigned long long*>(arrivals_) < target) {
      }
      __threadfence();
    }
    __syncthreads();
  }

  __device__ __forceinline__ void begin_staging(const std::byte* image, const Stage* stages,
                                                int phases) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0) {
      for (int phase = 0; phase < phases; ++phase)
        asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(barrier(phase)) : "memory");
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      for (int phase = 0; phase < phases; ++phase) {
        const Stage& stage = stages[phase];
        if (stage.bytes == 0) continue;
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier(phase)),
                     "r"(stage.bytes)
                     : "memory");
        asm volatile(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
            "[%3];" ::"r"(address(shared_weights() + stage.to)),
            "l"(global_address(image + stage.from)), "r"(stage.bytes), "r"(barrier(phase))
            : "memory");
      }
    }
    __syncthreads();
    prefetch_rest(image, stages, phases);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if (threadIdx.x == 0)
      for (int phase = 0; phase < phases; ++phase)
        asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier(phase)), "r"(blockDim.x)
                     : "memory");
    __syncthreads();
    for (int phase = 0; phase < phases; ++phase) {
      const Stage& stage = stages[phase];
      for (int i = static_cast<int>(threadIdx.x) * kLaneBytes; i < stage.bytes;
           i += static_cast<int>(blockDim.x) * kLaneBytes)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                         address(shared_weights() + stage.to + i)),
                     "l"(global_address(image + stage.from + i))
                     : "memory");
      asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier(phase))
                   : "memory");
    }
    prefetch_rest(image, stages, phases);
#else
    prefetch_rest(image, stages, phases);
#endif
  }

  // Each mbarrier is used once in a launch: its phase 0 is what is waited for.
  __device__ __forceinline__ void await_stage(int phase) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint32_t done = 0;
    while (done == 0)
      asm volatile(
          "{\n .reg .pred p;\n mbarrier.test_wait.shared.b64 p, [%1], %2;\n"
          " selp.u32 %0, 1, 0, p;\n}"
          : "=r"(done)
          : "r"(barrier(phase)), "l"(0ULL)
          : "memory");
#endif
  }

 private:
  static __device__ __forceinline__ void prefetch_rest(const std::byte* image, const Stage* stages,
                                                       int phases) {
    constexpr int kLine = 128;
    for (int phase = 0; phase < phases; ++phase) {
      const Stage& stage = stages[phase];
      const std::byte* rest = image + stage.from + stage.bytes;
      for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kLine; i < stage.rest;
           i += static_cast<std::int64_t>(blockDim.x) * kLine)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(global_address(rest + i)));
    }
  }
  static __device__ __forceinline__ std::uint32_t address(const std::byte* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  }
  static __device__ __forceinline__ std::uint64_t global_address(const std::byte* global) {
    return static_cast<std::uint64_t>(__cvta_generic_to_global(global));
  }
  __device__ __forceinline__ std::uint32_t barrier(int phase) const {
    return address(shared_) + static_cast<std::uint32_t>(phase) * 8;
  }

  std::byte* shared_;
  unsigned long long* arrivals_;
};

}  // namespace vp3d::cuda
