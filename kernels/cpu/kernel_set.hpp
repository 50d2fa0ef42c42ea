// The kernels of one instruction set S, and the loops that measure what it can do at best.
#pragma once

#include <cstring>

#include "layer_kernel.hpp"

namespace vp3d::cpu {

// Two streams at once, which processors fetch ahead better than one. `ahead`: ask for what comes,
// which is slower where they do that well by themselves.
template <class S, bool ahead>
std::uint64_t read_streams(const std::byte* data, std::int64_t bytes) {
  constexpr int kStreams = 2, kRegisters = 4;
  constexpr std::int64_t kStep = kRegisters * S::kLanes * 4;
  const std::int64_t each = bytes / kStreams;
  typename S::Int sums[kStreams][kRegisters];
  unroll<kStreams>([&](auto s) {
    unroll<kRegisters>([&](auto i) { sums[s][i] = S::int_zero(); });
  });
  for (std::int64_t at = 0; at + kStep <= each; at += kStep)
    unroll<kStreams>([&](auto s) {
      const std::byte* from = data + s * each + at;
      if constexpr (ahead)
        for (std::int64_t line = 0; line < kStep; line += kLineBytes)
          S::prefetch(reinterpret_cast<const char*>(from) + kPrefetchBytes + line);
      unroll<kRegisters>([&](auto i) {
        const auto* words = reinterpret_cast<const std::int32_t*>(from) + i * S::kLanes;
        sums[s][i] = S::int_add(sums[s][i], S::load_int32(words));
      });
    });
  alignas(kAlignment) std::int32_t lanes[S::kLanes];
  std::uint64_t total = 0;
  unroll<kStreams>([&](auto s) {
    unroll<kRegisters>([&](auto i) {
      S::store_int32(lanes, sums[s][i]);
      for (const std::int32_t lane : lanes) total += static_cast<std::uint32_t>(lane);
    });
  });
  return total;
}

template <class S>
std::uint64_t read_bytes(const std::byte* data, std::int64_t bytes, bool ahead) {
  return ahead ? read_streams<S, true>(data, bytes) : read_streams<S, false>(data, bytes);
}

template <class P>
VP3D_FLATTEN std::int64_t multiply_adds(std::int64_t repeats, float* sink) {
  using S = typename P::Set;
  using Full = Tile<P, P::kColumns>;
  constexpr std::int64_t kElements = 64;
  alignas(kAlignment) typename P::Weight weights[kElements * Full::kWeights];
  alignas(kAlignment) typename P::Element elements[kElements * packed_stride(P::kColumns)];
  std::memset(weights, 0, sizeof weights);
  std::memset(elements, 0, sizeof elements);
  ColumnsPacked<typename P::Element, P::kColumns> columns{elements};
  const typename P::Weight* w = weights;
  std::int64_t count = kElements;
  typename Full::Sums one[1];
  typename Full::Sums& sums = one[0];
  Full::clear(sums);
  for (std::int64_t i = 0; i < repeats; ++i) {
    // What might be something else each time, so that nothing is computed once for all.
    __asm__ volatile("" : "+r"(columns.at), "+r"(w), "+r"(count));
    Full::template add<Full::kChains>(one, w, 0, columns, count, [](const typename P::Weight*) {});
  }
  typename P::Sum total = P::zero();
  unroll<P::kColumns>([&](auto n) {
    unroll<S::kVectors>([&](auto v) { total = P::add(total, sums.at[n][v]); });
  });
  P::store_sum(reinterpret_cast<typename P::Stored*>(sink), total);
  return repeats * kElements * P::kColumns * Full::kPanel * P::kInputs;
}

template <class S>
constexpr KernelSet kernel_set(const char* name) {
  return {name,
          S::kVectors * S::kLanes,
          S::kInPlaceColumns,
          layer_kernels<FloatProduct<S, float>>(),
          layer_kernels<FloatProduct<S, Half>>(),
          layer_kernels<Int8Product<S>>(),
          &read_bytes<S>,
          &multiply_adds<FloatProduct<S, float>>,
          &multiply_adds<Int8Product<S>>};
}

}  // namespace vp3d::cpu
