// Kernels for every AArch64 processor.
#include <arm_neon.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_neon.hpp"
}  // namespace

const KernelSet& neon_kernels() {
  static constexpr KernelSet kernels = kernel_set<Neon>("neon");
  return kernels;
}

}  // namespace vp3d::cpu
