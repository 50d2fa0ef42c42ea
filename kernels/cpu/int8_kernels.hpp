// Products of 8-bit weights and 7-bit inputs, for any instruction set S; sums are exact, in 32 bits.
//
// Inputs come four at a time, as the dot-product instructions take them, and lie between 0 and 127:
// that fits signed and unsigned bytes alike, and two products fit 16 bits, so every instruction set
// computes the same integers.
#pragma once

#include <algorithm>

#include "epilogue.hpp"
#include "float_kernels.hpp"

namespace vp3d::cpu {

constexpr int kQuad = 4;
constexpr int kUnrolledQuads = 4;

template <class S, int N>
struct Int8Tile {
  using Int = typename S::Int;
  using Columns = IntSums<S, N>;
  static constexpr int kPanel = S::kVectors * S::kLanes;
  static constexpr int kQuadBytes = kPanel * kQuad;
  static constexpr int kChains = S::int_chains(N);

  static VP3D_INLINE void clear(Columns& sums) {
    unroll<N>([&](auto n) { unroll<S::kVectors>([&](auto v) { sums.at[n][v] = S::int_zero(); }); });
  }

  // Adds the products of four inputs of each column with their weights.
  static VP3D_INLINE void add_quad(Columns& sums, const std::int8_t* weights,
                                   const std::uint8_t* const* at, std::int64_t k) {
    Int w[S::kVectors];
    unroll<S::kVectors>([&](auto v) { w[v] = S::load_int8(weights + v * S::kLanes * kQuad); });
    unroll<N>([&](auto n) {
      const Int x = S::broadcast_quad(at[n] + k);
      unroll<S::kVectors>([&](auto v) { sums.at[n][v] = S::dot(sums.at[n][v], x, w[v]); });
    });
  }

  template <bool kStreams>
  static VP3D_INLINE void add_tap(Columns& sums, const std::int8_t* weights, const void* const* x,
                                  std::int64_t stride, std::int64_t begin, std::int64_t end) {
    const std::uint8_t* at[N];
    unroll<N>([&](auto n) { at[n] = static_cast<const std::uint8_t*>(x[n * stride]) + begin; });
    Columns chains[kChains];
    chains[0] = sums;
    unroll<kChains - 1>([&](auto c) { clear(chains[c + 1]); });
    const std::int64_t count = end - begin;
    constexpr std::int64_t kStep = kUnrolledQuads * kQuad;
    std::int64_t k = 0;
    for (; k + kStep <= count; k += kStep) {
      if constexpr (kStreams) {
        unroll<kUnrolledQuads * kQuadBytes / 64>([&](auto line) {
          S::prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + line * 64);
        });
      }
      unroll<kUnrolledQuads>([&](auto u) {
        add_quad(chains[u % kChains], weights + u * kQuadBytes, at, k + u * kQuad);
      });
      weights += kUnrolledQuads * kQuadBytes;
    }
    for (; k < count; k += kQuad, weights += kQuadBytes) add_quad(chains[0], weights, at, k);
    unroll<kChains - 1>([&](auto c) {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          chains[0].at[n][v] = S::int_add(chains[0].at[n][v], chains[c + 1].at[n][v]);
        });
      });
    });
    sums = chains[0];
  }

  static VP3D_INLINE void finish_int(const LayerCall& call, std::int64_t row, std::int64_t column,
                                     const Columns& sums) {
    FloatSums<S, N> scaled;
    unroll<S::kVectors>([&](auto v) {
      const typename S::Float scale = S::load(call.layer->scale + row + v * S::kLanes);
      unroll<N>(
          [&](auto n) { scaled.at[n][v] = S::multiply(S::to_float(sums.at[n][v]), scale); });
    });
    finish<S, N>(call, row, column, scaled);
  }

  static void panel(const LayerCall& call, const std::int8_t* weights, std::int64_t row,
                    std::int64_t column) {
    const PackedLayer& layer = *call.layer;
    Columns sums;
    clear(sums);
    for (std::int64_t tap = 0; tap < layer.taps; ++tap) {
      add_tap<true>(sums, weights, call.inputs + column * layer.taps + tap, layer.taps, 0,
                    layer.tap_inputs);
      weights += layer.tap_inputs * kPanel;
    }
    finish_int(call, row, column, sums);
  }

  static void block(const LayerCall& call, const std::int8_t* weights, std::int64_t row,
                    std::int64_t column, std::int64_t tap, std::int64_t begin, std::int64_t end,
                    std::int32_t* partial) {
    const PackedLayer& layer = *call.layer;
    Columns sums;
    if (tap == 0 && begin == 0) {
      clear(sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          sums.at[n][v] = S::load_int32(partial + (n * S::kVectors + v) * S::kLanes);
        });
      });
    }
    add_tap<false>(sums, weights, call.inputs + column * layer.taps + tap, layer.taps, begin, end);
    if (tap == layer.taps - 1 && end == layer.tap_inputs) {
      finish_int(call, row, column, sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          S::store_int32(partial + (n * S::kVectors + v) * S::kLanes, sums.at[n][v]);
        });
      });
    }
  }
};

template <class S, int... I>
VP3D_INLINE auto int8_panel(std::int64_t n, std::integer_sequence<int, I...>) {
  static constexpr decltype(&Int8Tile<S, 1>::panel) kTable[] = {&Int8Tile<S, I + 1>::panel...};
  return kTable[n - 1];
}

template <class S, int... I>
VP3D_INLINE auto int8_block(std::int64_t n, std::integer_sequence<int, I...>) {
  static constexpr decltype(&Int8Tile<S, 1>::block) kTable[] = {&Int8Tile<S, I + 1>::block...};
  return kTable[n - 1];
}

template <class S>
void many_columns_int8(const LayerCall& call, const Share& share, std::byte* scratch) {
  constexpr std::int64_t kPanel = S::kVectors * S::kLanes;
  constexpr std::int64_t kBlock = kBlockBytes / kPanel;
  constexpr std::int64_t kGroup = kGroupRows / kPanel;
  using Numbers = std::make_integer_sequence<int, S::kIntColumns>;
  const PackedLayer& layer = *call.layer;
  const auto* weights = reinterpret_cast<const std::int8_t*>(share.weights);
  const std::int64_t panel_weights = layer.taps * layer.tap_inputs * kPanel;

  for (std::int64_t group = 0; group < share.n_panels; group += kGroup) {
    const std::int64_t group_end = std::min(group + kGroup, share.n_panels);
    for (std::int64_t chunk = 0; chunk < call.n_columns; chunk += kChunkColumns) {
      const std::int64_t chunk_end = std::min(chunk + kChunkColumns, call.n_columns);
      for (std::int64_t tap = 0; tap < layer.taps; ++tap) {
        for (std::int64_t begin = 0; begin < layer.tap_inputs; begin += kBlock) {
          const std::int64_t end = std::min(begin + kBlock, layer.tap_inputs);
          auto* sums = reinterpret_cast<std::int32_t*>(scratch);
          for (std::int64_t panel = group; panel < group_end; ++panel) {
            const std::int8_t* block = weights + panel * panel_weights +
                                       (tap * layer.tap_inputs + begin) * kPanel;
            const std::int64_t row = (share.first_panel + panel) * kPanel;
            for (std::int64_t column = chunk; column < chunk_end; column += S::kIntColumns) {
              const auto n = std::min<std::int64_t>(S::kIntColumns, chunk_end - column);
              int8_block<S>(n, Numbers{})(call, block, row, column, tap, begin, end, sums);
              sums += n * kPanel;
            }
          }
        }
      }
    }
  }
}

// A LayerKernel.
template <class S>
void int8_layer(const LayerCall& call, const Share& share, std::byte* scratch) {
  constexpr std::int64_t kPanel = S::kVectors * S::kLanes;
  if (call.n_columns > S::kIntColumns) return many_columns_int8<S>(call, share, scratch);
  if (call.n_columns == 0) return;
  const PackedLayer& layer = *call.layer;
  const auto run = int8_panel<S>(call.n_columns, std::make_integer_sequence<int, S::kIntColumns>{});
  const auto* weights = reinterpret_cast<const std::int8_t*>(share.weights);
  for (std::int64_t panel = 0; panel < share.n_panels; ++panel) {
    run(call, weights, (share.first_panel + panel) * kPanel, 0);
    weights += layer.taps * layer.tap_inputs * kPanel;
  }
}

}  // namespace vp3d::cpu
