// Kernels for x86-64 with AVX2, FMA and F16C: Intel since Haswell, AMD since Excavator and Zen.
#include <immintrin.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_x86.hpp"
}  // namespace

const KernelSet& avx2_kernels() {
  static constexpr KernelSet kernels = kernel_set<Avx2>("avx2");
  return kernels;
}

}  // namespace vp3d::cpu
