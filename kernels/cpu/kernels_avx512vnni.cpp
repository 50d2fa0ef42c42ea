// AVX-512 with 8-bit dot products in one instruction: Intel's servers since Cascade Lake, AMD
// since Zen 4.
#include <immintrin.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_x86.hpp"

struct Avx512Vnni : Avx512 {
  static constexpr int kIntColumns = 12;
  static constexpr int int_chains(int columns) { return float_chains(columns); }
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    return _mm512_dpbusd_epi32(sums, inputs, weights);
  }
};

// For processors that run 512 bits as two halves: there, widening half precision to 512 bits takes
// longer than twice to 256, and few columns cost more than half the width of their products.
struct Avx512VnniInHalves : Avx512Vnni {
  using HalfSet = Avx2;
};

constexpr KernelSet in_halves() {
  KernelSet kernels = kernel_set<Avx512Vnni>("avx512vnni-zen4");
  kernels.f16 = layer_kernels<FloatProduct<Avx512VnniInHalves, Half>>();
  return kernels;
}
}  // namespace

const KernelSet& avx512vnni_kernels() {
  static constexpr KernelSet kernels = kernel_set<Avx512Vnni>("avx512vnni");
  return kernels;
}

const KernelSet& avx512vnni_zen4_kernels() {
  static constexpr KernelSet kernels = in_halves();
  return kernels;
}

}  // namespace vp3d::cpu
