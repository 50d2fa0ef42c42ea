// One panel of output rows times N columns, sums in registers, for any product P (products.hpp).
#pragma once

#include "pack_columns.hpp"
#include "products.hpp"

namespace vp3d::cpu {

// Elements that are worked on between two checks of a loop's end.
constexpr int kUnrolled = 4;
// How far ahead of use weights are asked for. It runs past the end of a layer, into the weights of
// the thread's next one.
constexpr std::int64_t kPrefetchBytes = 3072;

// N columns where they lie.
template <class Element, int N>
struct ColumnsInPlace {
  const Element* at[N];
  VP3D_INLINE const Element* operator()(std::int64_t k, int n) const { return at[n] + k; }
};

// N columns packed side by side (pack_columns.hpp).
template <class Element, int N>
struct ColumnsPacked {
  const Element* at;
  VP3D_INLINE const Element* operator()(std::int64_t k, int n) const { return at + k * packed_stride(N) + n; }
};

template <class P, int N>
struct Tile {
  using S = typename P::Set;
  using Sum = typename P::Sum;
  using Weight = typename P::Weight;
  using Element = typename P::Element;
  using Stored = typename P::Stored;
  static constexpr int kPanel = S::kVectors * S::kLanes;
  static constexpr int kWeights = kPanel * P::kInputs;  // of a panel, for one element
  // Independent sums per output, where few columns alone would wait for the multiplier's latency.
  static constexpr int kChains = P::chains(N);

  struct Sums {
    Sum at[N][S::kVectors];
  };

  static VP3D_INLINE void clear(Sums& sums) {
    unroll<N>([&](auto n) { unroll<S::kVectors>([&](auto v) { sums.at[n][v] = P::zero(); }); });
  }

  // Adds the products of element k of every column with its weights.
  template <class Columns>
  static VP3D_INLINE void add_element(Sums& sums, const Weight* weights, const Columns& columns,
                                      std::int64_t k) {
    if constexpr (N <= S::kVectors) {
      Sum x[N];
      unroll<N>([&](auto n) { x[n] = S::kept(P::broadcast(columns(k, n))); });
      unroll<S::kVectors>([&](auto v) {
        const Sum w = weights_of<N>(weights + v * S::kLanes * P::kInputs);
        unroll<N>([&](auto n) { sums.at[n][v] = P::multiply_add(sums.at[n][v], x[n], w); });
      });
    } else {
      Sum w[S::kVectors];
      unroll<S::kVectors>(
          [&](auto v) { w[v] = weights_of<N>(weights + v * S::kLanes * P::kInputs); });
      unroll<N>([&](auto n) {
        const Sum x = P::broadcast(columns(k, n));
        unroll<S::kVectors>(
            [&](auto v) { sums.at[n][v] = P::multiply_add(sums.at[n][v], x, w[v]); });
      });
    }
  }

  // Weights that more than one column needs are kept from being loaded for each of them.
  template <int kUses>
  static VP3D_INLINE Sum weights_of(const Weight* from) {
    const Sum w = P::load_weights(from);
    if constexpr (kUses > 1) return S::kept(w);
    return w;
  }

  template <class Columns>
  static VP3D_INLINE void add(Sums& sums, const Weight* weights, const Columns& columns,
                              std::int64_t count) {
    Sums chains[kChains];
    chains[0] = sums;
    unroll<kChains - 1>([&](auto c) { clear(chains[c + 1]); });
    std::int64_t k = 0;
    for (; k + kUnrolled <= count; k += kUnrolled) {
      unroll<kUnrolled * kWeights * static_cast<int>(sizeof(Weight)) / 64>([&](auto line) {
        S::prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + line * 64);
      });
      unroll<kUnrolled>([&](auto u) {
        add_element(chains[u % kChains], weights + u * kWeights, columns, k + u);
      });
      weights += kUnrolled * kWeights;
    }
    for (; k < count; ++k, weights += kWeights) add_element(chains[0], weights, columns, k);
    unroll<kChains - 1>([&](auto c) {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          chains[0].at[n][v] = P::add(chains[0].at[n][v], chains[c + 1].at[n][v]);
        });
      });
    });
    sums = chains[0];
  }

  // What follows the sums: bias, ReLU, residual, and rounding for an 8-bit layer.
  static VP3D_INLINE void finish(const LayerCall& call, std::int64_t row, std::int64_t column,
                                 const Sums& sums) {
    unroll<N>([&](auto n) {
      unroll<S::kVectors>([&](auto v) {
        const std::int64_t r = row + v * S::kLanes;
        write_outputs<S>(call, r, column + n, P::value(*call.layer, r, sums.at[n][v]));
      });
    });
  }

  // A whole panel for the call's only N columns, read where they lie.
  static VP3D_FLATTEN void in_place(const LayerCall& call, const Weight* weights,
                                    std::int64_t row) {
    const PackedLayer& layer = *call.layer;
    const std::int64_t count = layer.tap_inputs / P::kInputs;
    Sums sums;
    clear(sums);
    for (std::int64_t tap = 0; tap < layer.taps; ++tap, weights += count * kWeights) {
      ColumnsInPlace<Element, N> columns;
      unroll<N>([&](auto n) {
        columns.at[n] = static_cast<const Element*>(call.inputs[n * layer.taps + tap]);
      });
      add(sums, weights, columns, count);
    }
    finish(call, row, 0, sums);
  }

  // `count` elements of N packed columns, the call's number `column` and following. `partial` keeps
  // their sums between the first block of elements and the last.
  static VP3D_FLATTEN void packed(const LayerCall& call, const Weight* weights, std::int64_t row,
                                  std::int64_t column, const Element* elements, std::int64_t count,
                                  bool first, bool last, Stored* partial) {
    Sums sums;
    if (first) {
      clear(sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          sums.at[n][v] = P::load_sum(partial + (n * S::kVectors + v) * S::kLanes);
        });
      });
    }
    add(sums, weights, ColumnsPacked<Element, N>{elements}, count);
    if (last) {
      finish(call, row, column, sums);
    } else {
      unroll<N>([&](auto n) {
        unroll<S::kVectors>([&](auto v) {
          P::store_sum(partial + (n * S::kVectors + v) * S::kLanes, sums.at[n][v]);
        });
      });
    }
  }
};

}  // namespace vp3d::cpu
