// AArch64 with 8-bit dot products in one instruction (ARMv8.2 and later): Cortex-A55 and A76 on,
// the Orin boards among them.
#include <arm_neon.h>

#include "isa.hpp"
#include "kernel_set.hpp"

namespace vp3d::cpu {
namespace {
#include "simd_neon.hpp"

struct NeonDot : Neon {
  static constexpr int kIntColumns = 6;
  static constexpr int int_chains(int columns) { return float_chains(columns); }
  static VP3D_INLINE Int dot(Int sums, Int inputs, Int weights) {
    return vdotq_s32(sums, vreinterpretq_s8_s32(inputs), vreinterpretq_s8_s32(weights));
  }
};
}  // namespace

const KernelSet& neondot_kernels() {
  static constexpr KernelSet kernels = kernel_set<NeonDot>("neondot");
  return kernels;
}

}  // namespace vp3d::cpu
