// The kernels of one instruction set S, and the loops that measure what it can do at best.
#pragma once

#include "layer_kernel.hpp"

namespace vp3d::cpu {

template <class S>
std::uint64_t read_bytes(const std::byte* data, std::int64_t bytes) {
  constexpr int kRegisters = 8;
  constexpr std::int64_t kStep = kRegisters * S::kLanes * 4;
  typename S::Int sums[kRegisters];
  unroll<kRegisters>([&](auto i) { sums[i] = S::int_zero(); });
  for (std::int64_t at = 0; at + kStep <= bytes; at += kStep) {
    const auto* from = reinterpret_cast<const std::int32_t*>(data + at);
    unroll<kStep / 64>([&](auto line) {
      S::prefetch(reinterpret_cast<const char*>(from) + kPrefetchBytes + line * 64);
    });
    unroll<kRegisters>([&](auto i) {
      sums[i] = S::int_add(sums[i], S::load_int32(from + i * S::kLanes));
    });
  }
  alignas(kAlignment) std::int32_t lanes[S::kLanes];
  std::uint64_t total = 0;
  unroll<kRegisters>([&](auto i) {
    S::store_int32(lanes, sums[i]);
    for (const std::int32_t lane : lanes) total += static_cast<std::uint32_t>(lane);
  });
  return total;
}

template <class P>
VP3D_FLATTEN std::int64_t multiply_adds(std::int64_t repeats, float* sink) {
  using S = typename P::Set;
  using All = Tile<P, P::kColumns>;
  typename All::Sums sums;
  All::clear(sums);
  // Registers that the compiler cannot know to hold the same numbers each time.
  typename P::Element numbers[P::kColumns];
  __builtin_memcpy(numbers, sink, sizeof numbers);
  const ColumnsPacked<typename P::Element, P::kColumns> columns{numbers};
  alignas(kAlignment) typename P::Weight weights[All::kWeights];
  __builtin_memcpy(weights, sink, sizeof weights);
  for (std::int64_t i = 0; i < repeats; ++i) {
    __asm__ volatile("" : : "r"(numbers), "r"(weights) : "memory");
    All::add_element(sums, weights, columns, 0);
  }
  unroll<P::kColumns>([&](auto n) {
    unroll<S::kVectors>([&](auto v) {
      P::store_sum(reinterpret_cast<typename P::Stored*>(sink), sums.at[n][v]);
      __asm__ volatile("" : : "r"(sink) : "memory");
    });
  });
  return repeats * P::kColumns * S::kVectors * S::kLanes * P::kInputs;
}

template <class S>
constexpr KernelSet kernel_set(const char* name) {
  return {name,
          S::kVectors * S::kLanes,
          &layer_kernel<FloatProduct<S, float>>,
          &layer_kernel<FloatProduct<S, Half>>,
          &layer_kernel<Int8Product<S>>,
          &read_bytes<S>,
          &multiply_adds<FloatProduct<S, float>>,
          &multiply_adds<Int8Product<S>>};
}

}  // namespace vp3d::cpu
