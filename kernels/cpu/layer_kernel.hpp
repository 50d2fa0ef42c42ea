// A layer's product for any number of columns.
//
// Few columns: every weight is read once, from memory, straight into the sums of all columns; that
// reading is the cost of a live frame. More columns are first packed side by side, because columns
// whose distance is a power of two evict each other from the caches; many are also cut, with the
// weights, into blocks that stay in the caches while tiles of columns pass over them.
#pragma once

#include <algorithm>

#include "tile.hpp"

namespace vp3d::cpu {

// With more tiles than this, half-precision weights are widened once for all of them.
constexpr std::int64_t kTilesToWiden = 6;

// The functions for 1, 2 .. columns, by their number.
template <class P, int... I>
VP3D_INLINE auto in_place_tile(std::int64_t n, std::integer_sequence<int, I...>) {
  using In = typename P::InPlace;
  static_assert(Tile<In, 1>::kPanel == Tile<P, 1>::kPanel);
  static constexpr decltype(&Tile<In, 1>::in_place_share) kTable[] = {
      &Tile<In, I + 1>::in_place_share...};
  return kTable[n - 1];
}

template <class P, int... I>
VP3D_INLINE auto packed_tile(std::int64_t n, std::integer_sequence<int, I...>) {
  static constexpr decltype(&Tile<P, 1>::packed) kTable[] = {&Tile<P, I + 1>::packed...};
  return kTable[n - 1];
}

// `columns` columns in tiles of nearly the same number, none of more than P::kColumns.
template <class P>
struct Tiling {
  std::int64_t columns;
  std::int64_t tiles = (columns + P::kColumns - 1) / P::kColumns;

  VP3D_INLINE std::int64_t begin(std::int64_t tile) const { return columns * tile / tiles; }
};

// A thread's work space (layer.hpp), cut up.
template <class P>
struct Scratch {
  using Wide = typename P::Wide;

  explicit Scratch(std::byte* memory)
      : partial(reinterpret_cast<typename P::Stored*>(memory)),
        packed(reinterpret_cast<typename P::Element*>(memory + kPartialBytes)),
        widened(reinterpret_cast<typename Wide::Weight*>(memory + kPartialBytes + kPackedBytes)) {}

  typename P::Stored* partial;
  typename P::Element* packed;
  typename Wide::Weight* widened;
};

// Columns that make one tile.
template <class P>
void one_tile(const LayerCall& call, const Share& share, std::byte* memory) {
  using Weight = typename P::Weight;
  using Element = typename P::Element;
  constexpr std::int64_t kPanel = P::Set::kVectors * P::Set::kLanes;
  const Scratch<P> scratch(memory);
  const std::int64_t n = call.n_columns;
  const auto run = packed_tile<P>(n, std::make_integer_sequence<int, P::kColumns>{});
  const std::int64_t elements = call.layer->taps * call.layer->tap_inputs / P::kInputs;
  const std::int64_t block =
      kPackedBytes / (packed_stride(n) * static_cast<std::int64_t>(sizeof(Element)));
  constexpr std::int64_t kGroup = kPartialBytes / (kPanel * P::kColumns * 4);
  for (std::int64_t group = 0; group < share.n_panels; group += kGroup) {
    const std::int64_t group_end = std::min(group + kGroup, share.n_panels);
    for (std::int64_t begin = 0; begin < elements; begin += block) {
      const std::int64_t end = std::min(begin + block, elements);
      pack_columns<typename P::Set, Element, P::kInputs>(call, 0, n, begin, end - begin,
                                                         scratch.packed);
      for (std::int64_t panel = group; panel < group_end; ++panel) {
        const Weight* weights = reinterpret_cast<const Weight*>(share.weights) +
                                (panel * elements + begin) * kPanel * P::kInputs;
        run(call, weights, (share.first_panel + panel) * kPanel, 0, scratch.packed, end - begin,
            begin == 0, end == elements, scratch.partial + (panel - group) * n * kPanel,
            {reinterpret_cast<const char*>(weights) + kFetchBytes, Tile<P, 1>::kLines});
      }
    }
  }
}

// Tiles that pass over weights of type P::Weight, or over those widened into `Wide`.
template <class P, class Wide>
void many_tiles(const LayerCall& call, const Share& share, std::byte* memory) {
  using Weight = typename P::Weight;
  using Element = typename P::Element;
  constexpr std::int64_t kPanel = P::Set::kVectors * P::Set::kLanes;
  constexpr std::int64_t kTileStride = packed_stride(P::kColumns);
  constexpr std::int64_t kMostTiles = (kChunkColumns + P::kColumns - 1) / P::kColumns;
  constexpr std::int64_t kBlock =
      std::min<std::int64_t>(kBlockBytes / (kPanel * P::kInputs * sizeof(typename Wide::Weight)),
                             kPackedBytes / (kMostTiles * kTileStride * sizeof(Element)));
  constexpr std::int64_t kGroup = kPartialBytes / (kChunkColumns * 4 * kPanel);
  constexpr std::int64_t kLines = Tile<P, 1>::kLines;
  using Numbers = std::make_integer_sequence<int, P::kColumns>;
  const Scratch<P> scratch(memory);
  const std::int64_t elements = call.layer->taps * call.layer->tap_inputs / P::kInputs;

  for (std::int64_t group = 0; group < share.n_panels; group += kGroup) {
    const std::int64_t group_end = std::min(group + kGroup, share.n_panels);
    for (std::int64_t chunk = 0; chunk < call.n_columns; chunk += kChunkColumns) {
      const Tiling<P> tiling{std::min(kChunkColumns, call.n_columns - chunk)};
      for (std::int64_t begin = 0; begin < elements; begin += kBlock) {
        const std::int64_t count = std::min(kBlock, elements - begin);
        for (std::int64_t t = 0; t < tiling.tiles; ++t) {
          const std::int64_t first = tiling.begin(t), n = tiling.begin(t + 1) - first;
          pack_columns<typename P::Set, Element, P::kInputs>(call, chunk + first, n, begin, count,
                                            scratch.packed + t * kTileStride * count);
        }
        typename P::Stored* partial = scratch.partial;
        for (std::int64_t panel = group; panel < group_end; ++panel) {
          const Weight* stored = reinterpret_cast<const Weight*>(share.weights) +
                                 (panel * elements + begin) * kPanel * P::kInputs;
          const typename Wide::Weight* weights;
          if constexpr (std::is_same_v<P, Wide>) weights = stored;
          else weights = P::widen(stored, count * kPanel, scratch.widened);
          const auto* next =
              reinterpret_cast<const char*>(stored + elements * kPanel * P::kInputs);
          const std::int64_t row = (share.first_panel + panel) * kPanel;
          for (std::int64_t t = 0; t < tiling.tiles; ++t) {
            const std::int64_t first = tiling.begin(t), n = tiling.begin(t + 1) - first;
            // The first tile brings this panel's weights near; the others, those of the next one.
            const std::int64_t others = tiling.tiles - 1;
            const auto lines = static_cast<int>(t > 0 ? (kLines + others - 1) / others : 0);
            const Fetch fetch{next + (t - 1) * lines * kLineBytes * (count / kUnrolled), lines};
            packed_tile<Wide>(n, Numbers{})(
                call, weights, row, chunk + first, scratch.packed + t * kTileStride * count, count,
                begin == 0, begin + count == elements, partial, fetch);
            partial += n * kPanel;
          }
        }
      }
    }
  }
}

// A LayerKernel.
template <class P>
void layer_kernel(const LayerCall& call, const Share& share, std::byte* scratch) {
  if (call.n_columns == 0) return;
  if (call.n_columns > P::Set::kInPlaceColumns) {
    if (call.n_columns <= P::kColumns) return one_tile<P>(call, share, scratch);
    if (call.n_columns <= P::kColumns * kTilesToWiden)
      return many_tiles<P, P>(call, share, scratch);
    return many_tiles<P, typename P::Wide>(call, share, scratch);
  }
  in_place_tile<P>(call.n_columns,
                   std::make_integer_sequence<int, P::Set::kInPlaceColumns>{})(call, share);
}

}  // namespace vp3d::cpu
