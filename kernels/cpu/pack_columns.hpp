// Columns packed side by side, as tiles of several columns read them.
#pragma once

#include <algorithm>
#include <cstring>

#include "layer.hpp"
#include "unroll.hpp"

namespace vp3d::cpu {

// Elements are 32 bits: a float32, or four quantised inputs.
typedef std::uint32_t FourElements __attribute__((vector_size(16)));

VP3D_INLINE FourElements interleave_low(FourElements a, FourElements b) {
  return FourElements{a[0], b[0], a[1], b[1]};
}

VP3D_INLINE FourElements interleave_high(FourElements a, FourElements b) {
  return FourElements{a[2], b[2], a[3], b[3]};
}

// How far element k + 1 lies from element k where n columns are packed: they go four at a time.
VP3D_INLINE constexpr std::int64_t packed_stride(std::int64_t n) { return (n + 3) / 4 * 4; }

// to[k * stride + i] = columns[i][k] for four columns and k in [0, count).
VP3D_INLINE void pack_four(const std::uint32_t* const columns[4], std::int64_t count,
                           std::int64_t stride, std::uint32_t* to) {
  std::int64_t k = 0;
  for (; k + 4 <= count; k += 4, to += 4 * stride) {
    FourElements x[4];
    unroll<4>([&](auto i) { std::memcpy(&x[i], columns[i] + k, sizeof x[i]); });
    const FourElements a = interleave_low(x[0], x[2]), b = interleave_high(x[0], x[2]);
    const FourElements c = interleave_low(x[1], x[3]), d = interleave_high(x[1], x[3]);
    const FourElements rows[4] = {interleave_low(a, c), interleave_high(a, c),
                                  interleave_low(b, d), interleave_high(b, d)};
    unroll<4>([&](auto j) { std::memcpy(to + j * stride, &rows[j], sizeof rows[j]); });
  }
  for (; k < count; ++k, to += stride)
    unroll<4>([&](auto i) { to[i] = columns[i][k]; });
}

// Elements [begin, begin + count) of n columns of the call, from number `column` on, side by side:
// to[k * packed_stride(n) + i]. Element: 32 bits, kInputs inputs of a column.
// S, the instruction set, makes it a function of its own in every file: one for all, compiled for any
// of them, would stop processors that lack it.
template <class S, class Element, int kInputs>
VP3D_FLATTEN void pack_columns(const LayerCall& call, std::int64_t column, std::int64_t n,
                               std::int64_t begin, std::int64_t count, Element* to) {
  static_assert(sizeof(Element) == sizeof(std::uint32_t));
  const std::int64_t taps = call.layer->taps, tap_elements = call.layer->tap_inputs / kInputs;
  const std::int64_t stride = packed_stride(n);
  for (std::int64_t k = 0; k < count;) {
    const std::int64_t tap = (begin + k) / tap_elements, from = (begin + k) % tap_elements;
    const std::int64_t run = std::min(tap_elements - from, count - k);
    const auto elements = [&](std::int64_t i) {
      const void* const tap_column = call.inputs[(column + std::min(i, n - 1)) * taps + tap];
      return static_cast<const std::uint32_t*>(tap_column) + from;
    };
    auto* packed = reinterpret_cast<std::uint32_t*>(to + k * stride);
    for (std::int64_t i = 0; i < n; i += 4) {
      const std::uint32_t* const four[4] = {elements(i), elements(i + 1), elements(i + 2),
                                            elements(i + 3)};
      pack_four(four, run, stride, packed + i);
    }
    k += run;
  }
}

}  // namespace vp3d::cpu
