// Kernels for x86-64 with AVX-512 (F, BW, DQ, VL): Intel's servers since Skylake.
#include <immintrin.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_x86.hpp"
}  // namespace

const KernelSet& avx512_kernels() {
  static constexpr KernelSet kernels = kernel_set<Avx512>("avx512");
  return kernels;
}

}  // namespace vp3d::cpu
