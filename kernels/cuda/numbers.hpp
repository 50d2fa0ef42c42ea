// Numbers that products read, for host and device: single, half precision, and 8 bits.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define VP3D_HD __host__ __device__ __forceinline__
#define VP3D_UNROLL _Pragma("unroll")
#define VP3D_NO_UNROLL _Pragma("unroll 1")
#else
#define VP3D_HD inline
#define VP3D_UNROLL
#define VP3D_NO_UNROLL
#endif

namespace vp3d::cuda {

enum class Number : std::int32_t { f32 = 0, f16 = 1, i8 = 2 };

VP3D_HD constexpr std::int64_t size_of(Number type) {
  return type == Number::f32 ? 4 : type == Number::f16 ? 2 : 1;
}

// What a lane loads at once.
struct alignas(16) Words {
  std::uint32_t word[4];
};

template <class To, class From>
VP3D_HD To bits_to(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

VP3D_HD float half_to_float(std::uint16_t half) {
#if defined(__CUDA_ARCH__)
  return __half2float(bits_to<__half>(half));
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7FFFU;
  float value = static_cast<float>(magnitude) * 0x1p-24F;  // subnormal
  if (magnitude >= 0x7C00U)
    value = bits_to<float>(0x7F800000U | magnitude << 13);
  else if (magnitude >= 0x0400U)
    value = bits_to<float>((magnitude << 13) + (112U << 23));
  return bits_to<float>(bits_to<std::uint32_t>(value) | sign);
#endif
}

// To nearest, halves to even; beyond the range infinite, as the device's instruction does.
VP3D_HD std::uint16_t float_to_half(float value) {
#if defined(__CUDA_ARCH__)
  return bits_to<std::uint16_t>(__float2half_rn(value));
#else
  const std::uint32_t bits = bits_to<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U, magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t half = 0;
  if (magnitude > 0x7F800000U) {
    half = 0x7FFFU;
  } else if (magnitude >= 0x477FF000U) {  // 65520 rounds to infinity
    half = 0x7C00U;
  } else if (magnitude < 0x38800000U) {  // subnormal: a whole number of 2^-24
    half = static_cast<std::uint32_t>(std::nearbyint(bits_to<float>(magnitude) * 0x1p24F));
  } else {
    half = (magnitude + 0xFFFU + (magnitude >> 13 & 1U) - (112U << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(half | sign);
#endif
}

// To the nearest number of 10 binary digits, halves away from zero: what tensor cores multiply as
// "tf32".
VP3D_HD float round_to_tf32(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits_to<float>(bits);
#else
  const std::uint32_t bits = bits_to<std::uint32_t>(value);
  if ((bits & 0x7F800000U) == 0x7F800000U) return value;
  return bits_to<float>((bits + 0x1000U) & 0xFFFFE000U);
#endif
}

// value = large + small, but for what lies beyond 20 binary digits of it. An infinite or NaN value
// makes small NaN.
VP3D_HD void split_for_tf32(float value, float& large, float& small) {
  large = round_to_tf32(value);
  small = round_to_tf32(value - large);
}

// min(round(value / step), 127), halves to even; values are never negative. A true division, as
// the definition has it: a reciprocal rounds some values elsewhere.
VP3D_HD std::int8_t quantise(float value, float step) {
#if defined(__CUDA_ARCH__)
  const float steps = rintf(__fdiv_rn(value, step));
#else
  const float steps = std::nearbyint(value / step);
#endif
  return static_cast<std::int8_t>(steps < 127.0F ? (steps > 0.0F ? steps : 0.0F) : 127.0F);
}

// The type in which products of this type add up, and one lane's share of a sum of products.
template <Number type>
struct Arithmetic;

template <>
struct Arithmetic<Number::f32> {
  using Sum = float;
  static VP3D_HD Sum dot(const Words& a, const Words& b, Sum sum) {
    for (int i = 0; i < 4; ++i)
      sum = fmaf(bits_to<float>(a.word[i]), bits_to<float>(b.word[i]), sum);
    return sum;
  }
};

template <>
struct Arithmetic<Number::f16> {
  using Sum = float;
  static VP3D_HD float low(std::uint32_t word) {
    return half_to_float(static_cast<std::uint16_t>(word & 0xFFFFU));
  }
  static VP3D_HD float high(std::uint32_t word) {
    return half_to_float(static_cast<std::uint16_t>(word >> 16));
  }
  static VP3D_HD Sum dot(const Words& a, const Words& b, Sum sum) {
    for (int i = 0; i < 4; ++i) {
      sum = fmaf(low(a.word[i]), low(b.word[i]), sum);
      sum = fmaf(high(a.word[i]), high(b.word[i]), sum);
    }
    return sum;
  }
};

template <>
struct Arithmetic<Number::i8> {
  using Sum = std::int32_t;
  static VP3D_HD Sum dot(const Words& a, const Words& b, Sum sum) {
    for (int i = 0; i < 4; ++i) {
#if defined(__CUDA_ARCH__)
      sum = __dp4a(static_cast<int>(a.word[i]), static_cast<int>(b.word[i]), sum);
#else
      for (int shift = 0; shift < 32; shift += 8)
        sum += static_cast<std::int8_t>(a.word[i] >> shift & 0xFFU) *
               static_cast<std::int8_t>(b.word[i] >> shift & 0xFFU);
#endif
    }
    return sum;
  }
};

}  // namespace vp3d::cuda
