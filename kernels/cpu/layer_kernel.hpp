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

// Inputs that a tile works on before the next tile takes the same weights: with them, in many
// tiles, they fill the first-level cache.
template <class P, class Wide>
constexpr std::int64_t block_elements() {
  constexpr std::int64_t kPanel = P::Set::kVectors * P::Set::kLanes;
  constexpr std::int64_t kMost = 256;
  return std::min<std::int64_t>(
      kMost, kBlockBytes / (kPanel * P::kInputs * sizeof(typename Wide::Weight)));
}

// Where tile number `tile` of a packed chunk begins.
template <class P>
VP3D_INLINE std::int64_t packed_tile_at(const LayerCall& call, std::int64_t tile) {
  const std::int64_t elements = call.layer->taps * call.layer->tap_inputs / P::kInputs;
  return tile * packed_stride(P::kColumns) * elements;
}

template <class P>
void pack_part(const LayerCall& call, const Chunk& chunk, int part, int parts, std::byte* packed) {
  using Element = typename P::Element;
  const std::int64_t elements = call.layer->taps * call.layer->tap_inputs / P::kInputs;
  const std::int64_t fours = (elements + 3) / 4;
  const std::int64_t begin = std::min(fours * part / parts * 4, elements);
  const std::int64_t end = std::min(fours * (part + 1) / parts * 4, elements);
  const Tiling<P> tiling{chunk.n};
  for (std::int64_t t = 0; t < tiling.tiles; ++t) {
    const std::int64_t first = tiling.begin(t), n = tiling.begin(t + 1) - first;
    Element* const tile = reinterpret_cast<Element*>(packed) + packed_tile_at<P>(call, t);
    pack_columns<typename P::Set, Element, P::kInputs>(call, chunk.first + first, n, begin,
                                                       end - begin, tile + begin * packed_stride(n));
  }
}

// Panels for a packed chunk, with weights of type P::Weight, or with those widened into `Wide`.
template <class P, class Wide>
void packed_panels(const LayerCall& call, const Chunk& chunk, const Share& panels,
                   const std::byte* packed, std::byte* scratch) {
  using Weight = typename P::Weight;
  constexpr std::int64_t kPanel = P::Set::kVectors * P::Set::kLanes;
  constexpr std::int64_t kWeights = kPanel * P::kInputs;  // of a panel, for one element
  constexpr std::int64_t kLines = Tile<P, 1>::kLines;
  static_assert(kMostPanels * kPanel * kChunkColumns * 4 <= kPartialBytes);
  const auto* columns = reinterpret_cast<const typename P::Element*>(packed);
  const auto* weights = reinterpret_cast<const Weight*>(panels.weights);
  auto* const widened = reinterpret_cast<typename Wide::Weight*>(scratch + kPartialBytes);
  const std::int64_t elements = call.layer->taps * call.layer->tap_inputs / P::kInputs;
  const Tiling<P> tiling{chunk.n};
  const std::int64_t block = tiling.tiles == 1 ? elements : block_elements<P, Wide>();
  for (std::int64_t begin = 0; begin < elements; begin += block) {
    const std::int64_t count = std::min(block, elements - begin);
    auto* partial = reinterpret_cast<typename P::Stored*>(scratch);
    for (std::int64_t panel = 0; panel < panels.n_panels; ++panel) {
      const Weight* const stored = weights + (panel * elements + begin) * kWeights;
      const typename Wide::Weight* wide;
      if constexpr (std::is_same_v<P, Wide>) wide = stored;
      else wide = P::widen(stored, count * kPanel, widened);
      // What is read next: of the next panel, of the next block, of the panels that follow.
      const Weight* next = stored + elements * kWeights;
      if (panel + 1 == panels.n_panels)
        next = begin + count < elements ? weights + (begin + count) * kWeights
                                        : weights + panels.n_panels * elements * kWeights;
      for (std::int64_t t = 0; t < tiling.tiles; ++t) {
        const std::int64_t first = tiling.begin(t), n = tiling.begin(t + 1) - first;
        // The first of many tiles brings this block near; the others, the next one.
        Fetch fetch{reinterpret_cast<const char*>(stored) + kFetchBytes, kLines};
        if (const std::int64_t others = tiling.tiles - 1; others > 0) {
          fetch.lines = static_cast<int>(t > 0 ? (kLines + others - 1) / others : 0);
          fetch.at = reinterpret_cast<const char*>(next) +
                     (t - 1) * fetch.lines * kLineBytes * (count / kUnrolled);
        }
        packed_tile<Wide>(n, std::make_integer_sequence<int, P::kColumns>{})(
            call, wide, (panels.first_panel + panel) * kPanel, chunk.first + first,
            columns + packed_tile_at<P>(call, t) + begin * packed_stride(n), count, begin == 0,
            begin + count == elements, partial, fetch);
        partial += n * kPanel;
      }
    }
  }
}

template <class P>
void packed(const LayerCall& call, const Chunk& chunk, const Share& panels,
            const std::byte* columns, std::byte* scratch) {
  if (chunk.n <= P::kColumns * kTilesToWiden)
    return packed_panels<P, P>(call, chunk, panels, columns, scratch);
  packed_panels<P, typename P::Wide>(call, chunk, panels, columns, scratch);
}

template <class P>
void in_place(const LayerCall& call, const Share& panels) {
  in_place_tile<P>(call.n_columns,
                   std::make_integer_sequence<int, P::Set::kInPlaceColumns>{})(call, panels);
}

template <class P>
constexpr LayerKernels layer_kernels() {
  return {P::kColumns, &in_place<P>, &pack_part<P>, &packed<P>};
}

}  // namespace vp3d::cpu
