// AVX2 with 8-bit dot products in one instruction: Intel's client processors since Alder Lake, AMD
// since Zen 5.
#include <immintrin.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_x86.hpp"

struct AvxVnni : Avx2 {
  static constexpr int kIntColumns = 3;
  static constexpr int int_chains(int columns) { return float_chains(columns); }
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    return _mm256_dpbusd_avx_epi32(sums, inputs, weights);
  }
};
}  // namespace

const KernelSet& avxvnni_kernels() {
  static constexpr KernelSet kernels = kernel_set<AvxVnni>("avxvnni");
  return kernels;
}

}  // namespace vp3d::cpu
