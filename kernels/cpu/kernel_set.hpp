// The kernels of one instruction set S, and the loops that measure what it can do at best.
#pragma once

#include "float_kernels.hpp"
#include "int8_kernels.hpp"

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

template <class S>
std::int64_t multiply_add_f32(std::int64_t repeats, float* sink) {
  constexpr int kColumns = S::kColumns;
  FloatSums<S, kColumns> sums;
  FloatTile<S, float, kColumns>::clear(sums);
  const float values[2] = {sink[0], sink[1]};
  const auto x = S::broadcast(values), w = S::broadcast(values + 1);
  for (std::int64_t i = 0; i < repeats; ++i) {
    unroll<kColumns>([&](auto n) {
      unroll<S::kVectors>([&](auto v) {
        sums.at[n][v] = S::multiply_add(w, x, sums.at[n][v]);
      });
    });
  }
  unroll<kColumns>([&](auto n) {
    unroll<S::kVectors>([&](auto v) { S::store(sink, S::add(S::load(sink), sums.at[n][v])); });
  });
  return repeats * kColumns * S::kVectors * S::kLanes;
}

template <class S>
std::int64_t multiply_add_i8(std::int64_t repeats, float* sink) {
  constexpr int kColumns = S::kIntColumns;
  IntSums<S, kColumns> sums;
  Int8Tile<S, kColumns>::clear(sums);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(sink);
  const auto x = S::broadcast_quad(bytes), w = S::broadcast_quad(bytes + 4);
  for (std::int64_t i = 0; i < repeats; ++i) {
    unroll<kColumns>([&](auto n) {
      unroll<S::kVectors>([&](auto v) { sums.at[n][v] = S::dot(sums.at[n][v], S::opaque(x), w); });
    });
  }
  unroll<kColumns>([&](auto n) {
    unroll<S::kVectors>([&](auto v) {
      S::store(sink, S::add(S::load(sink), S::to_float(sums.at[n][v])));
    });
  });
  return repeats * kColumns * S::kVectors * S::kLanes * kQuad;
}

template <class S>
constexpr KernelSet kernel_set(const char* name) {
  static_assert(kGroupRows % (S::kVectors * S::kLanes) == 0);
  return {name,
          S::kVectors * S::kLanes,
          &float_layer<S, float>,
          &float_layer<S, Half>,
          &int8_layer<S>,
          &read_bytes<S>,
          &multiply_add_f32<S>,
          &multiply_add_i8<S>};
}

}  // namespace vp3d::cpu
