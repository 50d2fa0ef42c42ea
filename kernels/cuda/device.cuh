// Blocks and warps on the device, as product.hpp and stream_step.hpp use them.
#pragma once

#include "stream_step.hpp"

namespace vp3d::cuda {

// c (16 x 8) += a (16 x 16 halves) * b. Registers are as the PTX manual has them for the shapes that
// sm_80 brought; those of sm_75 are halves and quarters of them.
__device__ __forceinline__ void multiply_halves(float (&c)[4], const std::uint32_t (&a)[4],
                                                const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  VP3D_UNROLL
  for (int k = 0; k < 2; ++k)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#endif
}

// c (16 x 8) += a (16 x 32 bytes) * b.
__device__ __forceinline__ void multiply_bytes(std::int32_t (&c)[4], const std::uint32_t (&a)[4],
                                               const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  VP3D_UNROLL
  for (int i = 0; i < 4; ++i)
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1])
        : "r"(a[i]), "r"(b[i / 2]));
#endif
}

// c (16 x 8) += a (16 x 8 floats) * b, nearly as exact as float32: each number is the sum of two
// that tensor cores multiply exactly, and only the product of the two small parts is left out. Tensor
// cores round what they add up toward zero, always the same way, so that a long sum of theirs drifts
// (Ootomo and Yokota, 2022): theirs end after these three products, and c is added to as usual.
__device__ __forceinline__ void multiply_floats(float (&c)[4], const std::uint32_t (&a)[4],
                                                const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float large_a[4], small_a[4], large_b[2], small_b[2];
  VP3D_UNROLL
  for (int i = 0; i < 4; ++i) split_for_tf32(bits_to<float>(a[i]), large_a[i], small_a[i]);
  VP3D_UNROLL
  for (int i = 0; i < 2; ++i) split_for_tf32(bits_to<float>(b[i]), large_b[i], small_b[i]);
  float part[4] = {};
  const auto add = [&part](const float(&x)[4], const float(&y)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(part[0]), "+f"(part[1]), "+f"(part[2]), "+f"(part[3])
        : "r"(bits_to<std::uint32_t>(x[0])), "r"(bits_to<std::uint32_t>(x[1])),
          "r"(bits_to<std::uint32_t>(x[2])), "r"(bits_to<std::uint32_t>(x[3])),
          "r"(bits_to<std::uint32_t>(y[0])), "r"(bits_to<std::uint32_t>(y[1])));
  };
  add(small_a, large_b);
  add(large_a, small_b);
  add(large_a, large_b);
  VP3D_UNROLL
  for (int i = 0; i < 4; ++i) c[i] += part[i];
#else
  // No tensor cores for float32 there: each lane gets its rows and columns from those that hold
  // them, number after number.
  const int lane = static_cast<int>(threadIdx.x) % kLanes, g = lane / 4, q = lane % 4;
  VP3D_UNROLL
  for (int k = 0; k < 8; ++k) {
    const auto from = [k](std::uint32_t word, int row) {
      return bits_to<float>(__shfl_sync(0xFFFFFFFFU, word, row * 4 + k % 4));
    };
    const float low = from(a[k / 4 * 2], g), high = from(a[k / 4 * 2 + 1], g);
    const float left = from(b[k / 4], 2 * q), right = from(b[k / 4], 2 * q + 1);
    c[0] = fmaf(low, left, c[0]);
    c[1] = fmaf(low, right, c[1]);
    c[2] = fmaf(high, left, c[2]);
    c[3] = fmaf(high, right, c[3]);
  }
#endif
}

class DeviceWarp {
 public:
  static constexpr bool kTensorCores = true;

  template <class T>
  struct PerLane {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
    __device__ __forceinline__ const T& operator[](int) const { return value; }
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
    VP3D_UNROLL
    for (int half = 0; half < 4; half += 2) {
      const std::uint32_t a[4] = {low.value.word[half], high.value.word[half],
                                  low.value.word[half + 1], high.value.word[half + 1]};
      const std::uint32_t b[2] = {weights.value.word[half], weights.value.word[half + 1]};
      if constexpr (type == Number::f16)
        multiply_halves(sums.value.of, a, b);
      else if constexpr (type == Number::i8)
        multiply_bytes(sums.value.of, a, b);
      else
        multiply_floats(sums.value.of, a, b);
    }
  }
};

class DeviceBlock {
 public:
  using Warp = DeviceWarp;

  // arrivals: the grid's count, or null where there are no barriers. It only grows, by the number of
  // blocks for each barrier, so it needs no reset; in 64 bits it does not wrap. Before this block has
  // come to its first barrier it is less than that many beyond where the launch found it.
  __device__ __forceinline__ DeviceBlock(std::byte* shared, unsigned long long* arrivals)
      : shared_(shared), arrivals_(arrivals) {
    if (arrivals != nullptr && keeps_count()) target_ = count() / gridDim.x * gridDim.x;
  }

  __device__ __forceinline__ int index() const { return static_cast<int>(blockIdx.x); }
  __device__ __forceinline__ int n_blocks() const { return static_cast<int>(gridDim.x); }
  __device__ __forceinline__ int n_warps() const { return static_cast<int>(blockDim.x) / kLanes; }
  __device__ __forceinline__ std::byte* partial() { return shared_ + kBarrierBytes; }
  // Behind what is fixed: what the block has to do, if there is room for that, and staged weights.
  __device__ __forceinline__ std::byte* near_duties() { return shared_ + kFixedBytes; }
  __device__ __forceinline__ const std::byte** found() {
    return reinterpret_cast<const std::byte**>(partial() + kPartialBytes);
  }
  __device__ __forceinline__ Ending* endings() {
    return reinterpret_cast<Ending*>(partial() + kPartialBytes + kFoundBytes);
  }
  __device__ __forceinline__ std::byte* near_tables() {
    return partial() + kPartialBytes + kFoundBytes + kEndingBytes;
  }
  __device__ __forceinline__ std::byte* near_frame() { return near_tables() + kNearTableBytes; }
  __device__ __forceinline__ std::byte* near_inputs() { return near_frame() + kNearFrameBytes; }

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

  template <class F>
  __device__ __forceinline__ void own(const F& f) {
    f(static_cast<int>(threadIdx.x));
  }

  __device__ __forceinline__ void barrier() { __syncthreads(); }

  // A barrier of the grid in two halves. Behind a barrier of the block: what all its threads have
  // written until then is visible before the arrival: that is the fence's doing, and the addition
  // needs no release of its own. Nobody waits for it.
  __device__ __forceinline__ void arrive() {
    if (!keeps_count()) return;
    target_ += gridDim.x;
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    asm volatile("red.relaxed.gpu.global.add.u64 [%0], 1;" ::"l"(global_address(arrivals_))
                 : "memory");
  }
  __device__ __forceinline__ void await_others() {
    if (keeps_count())
      while (count() < target_) {
      }
    __syncthreads();
  }

  // A lane of the first warp for each phase: they read at the same time how much there is to copy.
  __device__ __forceinline__ void begin_staging(const std::byte* image, const Duties& duties) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const int phase = static_cast<int>(threadIdx.x);
    if (phase < duties.phases) {
      const Stage stage = duties.stage(phase);
      asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(barrier(phase)) : "memory");
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
      if (stage.bytes > 0) {
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier(phase)),
                     "r"(stage.bytes)
                     : "memory");
        asm volatile(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
            "[%3];" ::"r"(address(near_duties() + stage.to)),
            "l"(global_address(image + stage.from)), "r"(stage.bytes), "r"(barrier(phase))
            : "memory");
      }
    }
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const int own = static_cast<int>(threadIdx.x);
    if (own < duties.phases)
      asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier(own)), "r"(blockDim.x)
                   : "memory");
    __syncthreads();
    for (int phase = 0; phase < duties.phases; ++phase) {
      const Stage stage = duties.stage(phase);
      for (int i = own * kLaneBytes; i < stage.bytes;
           i += static_cast<int>(blockDim.x) * kLaneBytes)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                         address(near_duties() + stage.to + i)),
                     "l"(global_address(image + stage.from + i))
                     : "memory");
      asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier(phase))
                   : "memory");
    }
#endif
  }

  // What has no room in shared memory, into the second-level cache.
  __device__ __forceinline__ void fetch_rest(const std::byte* image, const Duties& duties) {
    constexpr int kLine = 128;
    for (int phase = 0; phase < duties.phases; ++phase) {
      const Stage& stage = duties.stage(phase);
      const std::byte* rest = image + stage.from + stage.bytes;
      for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kLine; i < stage.fetched;
           i += static_cast<std::int64_t>(blockDim.x) * kLine)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(global_address(rest + i)));
    }
  }

  // Each mbarrier is used once in a launch: its phase 0 is what is waited for.
  __device__ __forceinline__ void await_stage(int phase) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint32_t done = 0;
    while (done == 0)
      asm volatile(
          "{\n .reg .pred p;\n mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
          " selp.u32 %0, 1, 0, p;\n}"
          : "=r"(done)
          : "r"(barrier(phase)), "r"(0)
          : "memory");
#endif
  }

 private:
  // The last warp has least to do between barriers.
  __device__ __forceinline__ bool keeps_count() const {
    return threadIdx.x + kLanes == blockDim.x;
  }
  // Drops what was cached before.
  __device__ __forceinline__ unsigned long long count() const {
    unsigned long long value;
    asm volatile("ld.acquire.gpu.global.u64 %0, [%1];"
                 : "=l"(value)
                 : "l"(global_address(arrivals_))
                 : "memory");
    return value;
  }
  static __device__ __forceinline__ std::uint32_t address(const std::byte* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  }
  static __device__ __forceinline__ std::uint64_t global_address(const void* global) {
    return static_cast<std::uint64_t>(__cvta_generic_to_global(global));
  }
  __device__ __forceinline__ std::uint32_t barrier(int phase) const {
    return address(shared_) + static_cast<std::uint32_t>(phase) * 8;
  }

  std::byte* shared_;
  unsigned long long* arrivals_;
  unsigned long long target_ = 0;
};

}  // namespace vp3d::cuda
