// One panel of output rows times N columns, sums in registers, for any product P (products.hpp).
#pragma once

#include <algorithm>

#include "pack_columns.hpp"
#include "products.hpp"

namespace vp3d::cpu {

// Elements that are worked on between two checks of a loop's end.
constexpr int kUnrolled = 4;
constexpr int kLineBytes = 64;
// How far ahead of use weights are asked for: into the first-level cache where few columns wait for
// little else, into the second where the columns fill the first. Both run past the end of a layer,
// into the weights of the thread's next one.
constexpr std::int64_t kPrefetchBytes = 3072;
constexpr std::int64_t kFetchBytes = 16384;

// What tiles of packed columns ask for while they multiply: `lines` cache lines for every kUnrolled
// elements. Evenly spread requests hide behind the products; a burst of them would not.
struct Fetch {
  const char* at;
  int lines;
};

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
  VP3D_INLINE const Element* operator()(std::int64_t k, int n) const {
    return at + k * packed_stride(N) + n;
  }
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
  static constexpr int kLines =  // of kUnrolled elements
      kUnrolled * kWeights * static_cast<int>(sizeof(Weight)) / kLineBytes;
  // Panels of which a single one would leave the multipliers waiting, for memory or for themselves,
  // are worked on two at once: each is a stream of its own for the processor to fetch ahead.
  static constexpr bool kPaired = N <= P::kPairedColumns;

  struct Sums {
    Sum at[N][S::kVectors];
  };

  static VP3D_INLINE void clear(Sums& sums) {
    unroll<N>([&](auto n) { unroll<S::kVectors>([&](auto v) { sums.at[n][v] = P::zero(); }); });
  }

  // Independent sums per output, where few columns alone would wait for the multiplier's latency.
  // As many for a panel that is left over as for a pair: answers do not depend on how many threads
  // share the panels, to the last bit.
  static constexpr int chains_of(int columns) {
    return kPaired ? std::max(1, P::chains(columns) / 2) : P::chains(columns);
  }
  static constexpr int kChains = chains_of(N);

  // Adds the products of element k of every column with its weights, in each of M panels that lie
  // `apart` weights from each other.
  template <int M, class Columns>
  static VP3D_INLINE void add_element(Sums (&sums)[M], const Weight* weights, std::int64_t apart,
                                      const Columns& columns, std::int64_t k) {
    if constexpr (N <= M * S::kVectors) {
      Sum x[N];
      unroll<N>([&](auto n) { x[n] = S::kept(P::broadcast(columns(k, n))); });
      unroll<M>([&](auto m) {
        unroll<S::kVectors>([&](auto v) {
          const Sum w = weights_of<N>(weights + m * apart + v * S::kLanes * P::kInputs);
          unroll<N>([&](auto n) {
            sums[m].at[n][v] = P::multiply_add(sums[m].at[n][v], x[n], w);
          });
        });
      });
    } else {
      static_assert(M == 1, "so many columns need all registers for one panel");
      Sum w[S::kVectors];
      unroll<S::kVectors>([&](auto v) {
        w[v] = weights_of<N>(weights + v * S::kLanes * P::kInputs);
      });
      unroll<N>([&](auto n) {
        const Sum x = P::broadcast(columns(k, n));
        unroll<S::kVectors>(
            [&](auto v) { sums[0].at[n][v] = P::multiply_add(sums[0].at[n][v], x, w[v]); });
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

  // fetch: called for every kUnrolled elements.
  template <int kOwnChains, int M, class Columns, class Fetching>
  static VP3D_INLINE void add(Sums (&sums)[M], const Weight* weights, std::int64_t apart,
                              const Columns& columns, std::int64_t count,
                              const Fetching& fetch) {
    Sums chains[kOwnChains][M];
    unroll<M>([&](auto m) {
      chains[0][m] = sums[m];
      unroll<kOwnChains - 1>([&](auto c) { clear(chains[c + 1][m]); });
    });
    std::int64_t k = 0;
    for (; k + kUnrolled <= count; k += kUnrolled) {
      fetch(weights);
      unroll<kUnrolled>([&](auto u) {
        add_element(chains[u % kOwnChains], weights + u * kWeights, apart, columns, k + u);
      });
      weights += kUnrolled * kWeights;
    }
    for (; k < count; ++k, weights += kWeights)
      add_element(chains[0], weights, apart, columns, k);
    unroll<M>([&](auto m) {
      unroll<kOwnChains - 1>([&](auto c) {
        unroll<N>([&](auto n) {
          unroll<S::kVectors>([&](auto v) {
            chains[0][m].at[n][v] = P::add(chains[0][m].at[n][v], chains[c + 1][m].at[n][v]);
          });
        });
      });
      sums[m] = chains[0][m];
    });
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

  // The same for all but the first kLeftOut columns, whose sums stay as they are.
  template <int kLeftOut, int M, class Fetching>
  static VP3D_INLINE void add_without(Sums (&sums)[M], const Weight* weights, std::int64_t apart,
                                      const ColumnsInPlace<Element, N>& columns,
                                      std::int64_t count, const Fetching& fetch) {
    constexpr int kRest = N - kLeftOut;
    using Rest = Tile<P, kRest>;
    typename Rest::Sums rest[M];
    ColumnsInPlace<Element, kRest> own;
    unroll<kRest>([&](auto n) {
      own.at[n] = columns.at[n + kLeftOut];
      unroll<M>([&](auto m) {
        unroll<S::kVectors>([&](auto v) { rest[m].at[n][v] = sums[m].at[n + kLeftOut][v]; });
      });
    });
    Rest::template add<chains_of(kRest)>(rest, weights, apart, own, count, fetch);
    unroll<kRest>([&](auto n) {
      unroll<M>([&](auto m) {
        unroll<S::kVectors>([&](auto v) { sums[m].at[n + kLeftOut][v] = rest[m].at[n][v]; });
      });
    });
  }

  // M whole panels, one after another, for the call's only N columns, read where they lie.
  template <int M>
  static VP3D_FLATTEN void in_place(const LayerCall& call, const Weight* weights,
                                    std::int64_t row) {
    const PackedLayer& layer = *call.layer;
    const std::int64_t count = layer.tap_inputs / P::kInputs;
    const std::int64_t apart = layer.taps * count * kWeights;
    Sums sums[M];
    unroll<M>([&](auto m) {
      if (call.first_sums == nullptr) return clear(sums[m]);
      load_sums(sums[m], [&](auto n) { return stored(call.first_sums, n, row + m * kPanel); });
    });
    // Taps that no column needs come first or last.
    std::int64_t begin = 0, end = layer.taps;
    if (call.left_out != nullptr) {
      while (begin < end && call.left_out[begin] == N) ++begin;
      while (end > begin && call.left_out[end - 1] == N) --end;
    }
    weights += begin * count * kWeights;
    const Weight* const last = weights + (end - begin) * count * kWeights;
    const std::int64_t to_next = M * apart - (last - weights);
    const auto fetch = [=](const Weight* now) {
      const Weight* soon = now + kPrefetchBytes / static_cast<std::int64_t>(sizeof(Weight));
      if (soon >= last) soon += to_next;
      unroll<M>([&](auto m) {
        const char* at = reinterpret_cast<const char*>(soon + m * apart);
        unroll<kLines>([&](auto line) { S::prefetch(at + line * kLineBytes); });
      });
    };
    for (std::int64_t tap = begin; tap < end; ++tap, weights += count * kWeights) {
      ColumnsInPlace<Element, N> columns;
      unroll<N>([&](auto n) {
        columns.at[n] = static_cast<const Element*>(call.inputs[n * layer.taps + tap]);
      });
      const std::int64_t left_out = call.left_out == nullptr ? 0 : call.left_out[tap];
      if (left_out == 0) add<kChains>(sums, weights, apart, columns, count, fetch);
      unroll<N - 1>([&](auto n) {
        if (left_out == n + 1) add_without<n + 1>(sums, weights, apart, columns, count, fetch);
      });
    }
    unroll<M>([&](auto m) {
      if (call.kept_sums == nullptr) return finish(call, row + m * kPanel, 0, sums[m]);
      store_sums(sums[m], [&](auto n) { return stored(call.kept_sums, n, row + m * kPanel); });
    });
  }

  static VP3D_INLINE Stored* stored(void* const* sums, std::int64_t column, std::int64_t row) {
    return static_cast<Stored*>(sums[column]) + row;
  }

  // at(n): where column n's sums are in memory.
  template <class At>
  static VP3D_INLINE void load_sums(Sums& sums, const At& at) {
    unroll<N>([&](auto n) {
      unroll<S::kVectors>([&](auto v) { sums.at[n][v] = P::load_sum(at(n) + v * S::kLanes); });
    });
  }
  template <class At>
  static VP3D_INLINE void store_sums(const Sums& sums, const At& at) {
    unroll<N>([&](auto n) {
      unroll<S::kVectors>([&](auto v) { P::store_sum(at(n) + v * S::kLanes, sums.at[n][v]); });
    });
  }

  // All panels of a share.
  static void in_place_share(const LayerCall& call, const Share& share) {
    const auto* weights = reinterpret_cast<const Weight*>(share.weights);
    const std::int64_t one = call.layer->taps * call.layer->tap_inputs * kPanel;
    std::int64_t row = share.first_panel * kPanel, left = share.n_panels;
    if constexpr (kPaired)
      for (; left >= 2; left -= 2, row += 2 * kPanel, weights += 2 * one)
        in_place<2>(call, weights, row);
    for (; left > 0; --left, row += kPanel, weights += one) in_place<1>(call, weights, row);
  }

  // `count` elements of N packed columns, the call's number `column` and following. `partial` keeps
  // their sums between the first block of elements and the last.
  static VP3D_FLATTEN void packed(const LayerCall& call, const Weight* weights, std::int64_t row,
                                  std::int64_t column, const Element* elements, std::int64_t count,
                                  bool first, bool last, Stored* partial, Fetch fetch) {
    Sums one[1];
    Sums& sums = one[0];
    const auto stored = [partial](auto n) { return partial + n * kPanel; };
    if (first) clear(sums);
    else load_sums(sums, stored);
    add<kChains>(one, weights, 0, ColumnsPacked<Element, N>{elements}, count,
                 [&fetch](const Weight*) {
      for (int line = 0; line < fetch.lines; ++line) S::prefetch_l2(fetch.at + line * kLineBytes);
      fetch.at += fetch.lines * kLineBytes;
    });
    if (last) finish(call, row, column, sums);
    else store_sums(sums, stored);
  }
};

}  // namespace vp3d::cpu
