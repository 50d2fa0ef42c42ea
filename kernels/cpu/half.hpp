// Half precision where no instruction converts it. Not for files with flags of their own.
#pragma once

#include <cstdint>

#include "layer.hpp"
#include "unroll.hpp"

namespace vp3d::cpu {

// IEEE 754 half to single precision.
VP3D_INLINE float widen(Half half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = half.bits & 0x7FFFU;
  std::uint32_t bits = 0;
  float value;
  if (magnitude >= 0x7C00U) {  // infinite, or not a number
    bits = 0x7F800000U | (magnitude << 13);
  } else if (magnitude >= 0x0400U) {
    bits = (magnitude << 13) + ((127U - 15U) << 23);
  } else {  // subnormal: a whole number of 2^-24
    value = static_cast<float>(magnitude) * 0x1p-24F;
    __builtin_memcpy(&bits, &value, 4);
  }
  bits |= sign;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

}  // namespace vp3d::cpu
