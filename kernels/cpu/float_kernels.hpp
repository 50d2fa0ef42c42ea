// Products with float32 and float16 weights, for any instruction set S; arithmetic is float32.
//
// Few columns: every weight is read once, from memory, straight into the sums of all columns; that
// reading is the cost of a live frame. Many columns: weights and inputs are cut into blocks that
// stay in the caches while tiles of columns pass over them.
#pragma once

#include <algorithm>

#include "epilogue.hpp"

namespace vp3d::cpu {

// Inputs that are worked on between two checks of the loop's end.
constexpr int kUnrolledInputs = 4;
// How far ahead of use weights are asked for. It runs past the end of a layer, into the weights of
// the thread's next one.
constexpr std::int64_t kPrefetchBytes = 3072;

template <class S, class W, int N>
struct FloatTile {
  using Float = typename S::Float;
  using Columns = FloatSums<S, N>;
  static constexpr int kPanel = S::kVectors * S::kLanes;
  // Independent sums per output, where few columns alone would wait for the multiplier's latency.
  static constexpr int kChains = S::float_chains(N);

  static VP3D_INLINE void clear(Columns& sums) {
    unroll<N>([&](auto n) { unroll<S::kVectors>([&](auto v) { sums.at[n][v] = S::zero(); }); });
  }

  // Adds the products of one input (number k of each column) with its row of weights.
  static VP3D_INLINE void add_input(Columns& sums, const W* weights, const float* const* at,
                                    std::int64_t k) {
    Float w[S::kVectors];
    unroll<S::kVectors>([&](auto v) { w[v] = S::load(weights + v * S::kLanes); });
    unroll<N>([&](auto n) {
      const Float x = S::broadcast(at[n] + k);
      unroll<S::kVectors>(
          [&](auto v) { sums.at[n][v] = S::multiply_add(w[v], x, sums.at[n][v]); });
    });
  }

  // Adds inputs [begin, end) of one tap. x: that tap of the first column; the next column's is
  // `stride` further. Weights begin at those of input `begin`.
  template <bool kStreams>
  static VP3D_INLINE void add_tap(Columns& sums, const W* weights, const void* const* x,
                                  std::int64_t stride, std::int64_t begin, std::int64_t end) {
    const float* at[N];
    unroll<N>([&](auto n) { at[n] = static_cast<const float*>(x[n * stride]) + begin; });
    Columns chains[kChains];
    chains[0] = sums;
    unroll<kChains - 1>([&](auto c) { clear(chains[c + 1]); });
    const std::int64_t count = end - begin;
    std::int64_t k = 0;
    for (; k + kUnrolledInputs <= count; k += kUnrolledInputs) {
      constexpr int kBytes = kUnrolledInputs * kPanel * static_cast<int>(sizeof(W));
      if constexpr (kStreams) {
        unroll<kBytes / 64>([&](auto line) {
          S::prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + line * 64);
        });
      }
      unroll<kUnrolledInputs>([&](auto u) {
        add_input(chains[u % kChains], weights + u * kPanel, at, k + u);
      });
      weights += kUnrolledInputs * kPanel;
    }
    for (; k < count; ++k, weights += kPanel) add_input(chains[0], weights, at, k);
    unroll<kChains - 1>([&](auto c) {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          chains[0].at[n][v] = S::add(chains[0].at[n][v], chains[c + 1].at[n][v]);
        });
      });
    });
    sums = chains[0];
  }

  // A whole panel for N columns that are the only ones.
  static void panel(const LayerCall& call, const W* weights, std::int64_t row,
                    std::int64_t column) {
    const PackedLayer& layer = *call.layer;
    Columns sums;
    clear(sums);
    for (std::int64_t tap = 0; tap < layer.taps; ++tap) {
      add_tap<true>(sums, weights, call.inputs + column * layer.taps + tap, layer.taps, 0,
                    layer.tap_inputs);
      weights += layer.tap_inputs * kPanel;
    }
    finish<S, N>(call, row, column, sums);
  }

  // One block of inputs for N of many columns; `partial` keeps their sums between blocks.
  static void block(const LayerCall& call, const W* weights, std::int64_t row, std::int64_t column,
                    std::int64_t tap, std::int64_t begin, std::int64_t end, float* partial) {
    const PackedLayer& layer = *call.layer;
    Columns sums;
    if (tap == 0 && begin == 0) {
      clear(sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          sums.at[n][v] = S::load(partial + (n * S::kVectors + v) * S::kLanes);
        });
      });
    }
    add_tap<false>(sums, weights, call.inputs + column * layer.taps + tap, layer.taps, begin, end);
    if (tap == layer.taps - 1 && end == layer.tap_inputs) {
      finish<S, N>(call, row, column, sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          S::store(partial + (n * S::kVectors + v) * S::kLanes, sums.at[n][v]);
        });
      });
    }
  }
};

// The functions for 1 .. kMost columns, by their number.
template <class S, class W, int... I>
VP3D_INLINE auto float_panel(std::int64_t n, std::integer_sequence<int, I...>) {
  static constexpr decltype(&FloatTile<S, W, 1>::panel) kTable[] = {
      &FloatTile<S, W, I + 1>::panel...};
  return kTable[n - 1];
}

template <class S, int... I>
VP3D_INLINE auto float_block(std::int64_t n, std::integer_sequence<int, I...>) {
  static constexpr decltype(&FloatTile<S, float, 1>::block) kTable[] = {
      &FloatTile<S, float, I + 1>::block...};
  return kTable[n - 1];
}

// Weights [0, count) as float32: where they lie, or widened into `space`.
template <class S>
VP3D_INLINE const float* as_float(const float* weights, std::int64_t, float*) {
  return weights;
}

template <class S>
VP3D_INLINE const float* as_float(const Half* weights, std::int64_t count, float* space) {
  for (std::int64_t i = 0; i < count; i += S::kLanes) S::store(space + i, S::load(weights + i));
  return space;
}

template <class S, class W>
void many_columns(const LayerCall& call, const Share& share, std::byte* scratch) {
  constexpr std::int64_t kPanel = S::kVectors * S::kLanes;
  constexpr std::int64_t kBlock = kBlockBytes / (kPanel * 4);
  constexpr std::int64_t kGroup = kGroupRows / kPanel;
  using Numbers = std::make_integer_sequence<int, S::kColumns>;
  const PackedLayer& layer = *call.layer;
  const std::int64_t panel_weights = layer.taps * layer.tap_inputs * kPanel;
  float* partial = reinterpret_cast<float*>(scratch);
  float* widened = partial + kGroupRows * (kChunkColumns + 16);

  for (std::int64_t group = 0; group < share.n_panels; group += kGroup) {
    const std::int64_t group_end = std::min(group + kGroup, share.n_panels);
    for (std::int64_t chunk = 0; chunk < call.n_columns; chunk += kChunkColumns) {
      const std::int64_t chunk_end = std::min(chunk + kChunkColumns, call.n_columns);
      for (std::int64_t tap = 0; tap < layer.taps; ++tap) {
        for (std::int64_t begin = 0; begin < layer.tap_inputs; begin += kBlock) {
          const std::int64_t end = std::min(begin + kBlock, layer.tap_inputs);
          float* sums = partial;
          for (std::int64_t panel = group; panel < group_end; ++panel) {
            const W* stored = reinterpret_cast<const W*>(share.weights) + panel * panel_weights +
                              (tap * layer.tap_inputs + begin) * kPanel;
            const float* weights = as_float<S>(stored, (end - begin) * kPanel, widened);
            const std::int64_t row = (share.first_panel + panel) * kPanel;
            for (std::int64_t column = chunk; column < chunk_end; column += S::kColumns) {
              const auto n = std::min<std::int64_t>(S::kColumns, chunk_end - column);
              float_block<S>(n, Numbers{})(call, weights, row, column, tap, begin, end, sums);
              sums += n * kPanel;
            }
          }
        }
      }
    }
  }
}

// A LayerKernel; W is the type of the weights.
template <class S, class W>
void float_layer(const LayerCall& call, const Share& share, std::byte* scratch) {
  constexpr std::int64_t kPanel = S::kVectors * S::kLanes;
  if (call.n_columns > S::kColumns) return many_columns<S, W>(call, share, scratch);
  if (call.n_columns == 0) return;
  const PackedLayer& layer = *call.layer;
  const auto run =
      float_panel<S, W>(call.n_columns, std::make_integer_sequence<int, S::kColumns>{});
  const W* weights = reinterpret_cast<const W*>(share.weights);
  for (std::int64_t panel = 0; panel < share.n_panels; ++panel) {
    run(call, weights, (share.first_panel + panel) * kPanel, 0);
    weights += layer.taps * layer.tap_inputs * kPanel;
  }
}

}  // namespace vp3d::cpu
