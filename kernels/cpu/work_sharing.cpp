#include "work_sharing.hpp"

#include <algorithm>

#include "pack_columns.hpp"

namespace vp3d::cpu {
namespace {

// Of packed columns: half of a large second-level cache, and all of a small one.
constexpr std::int64_t kPackedBytes = 3 << 20;
// Units that each thread is to have at least, so that the last ones end at about the same time.
constexpr std::int64_t kUnits = 8;
// Threads that a thread looks at when it is done: to look at all would cost many threads more than
// it brings.
constexpr int kNeighbours = 8;

std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

std::int64_t tile_bytes(const KernelSet& kernels, const PackedLayer& layer) {
  const std::int64_t inputs = layer.type == WeightType::i8 ? 4 : 1;  // of an element of four bytes
  return layer.taps * layer.tap_inputs / inputs *
         packed_stride(kernels.layer(layer.type).tile_columns) * 4;
}

Share unit_of(const Product& product, const Share& share, std::int64_t unit, std::int64_t panels) {
  const std::int64_t first = unit * panels;
  const std::int64_t n = std::min(panels, share.n_panels - first);
  return {share.weights + first * product.panel_bytes, share.first_panel + first, n};
}

// Tiles of a layer's columns that are packed at a time, at most.
std::int64_t tiles_at_once(const KernelSet& kernels, const PackedLayer& layer) {
  const std::int64_t most = kChunkColumns / kernels.layer(layer.type).tile_columns;
  return std::clamp<std::int64_t>(kPackedBytes / tile_bytes(kernels, layer), 1, most);
}

}  // namespace

WorkSharing::WorkSharing(const KernelSet& kernels, ThreadPool& pool,
                         const std::vector<PackedNetwork>& networks)
    : kernels_(kernels), pool_(pool) {
  std::int64_t most = 0;
  const auto count = [&](const PackedLayer& layer) {
    most = std::max(most, tiles_at_once(kernels, layer) * tile_bytes(kernels, layer));
  };
  for (const PackedNetwork& network : networks) {
    for (const PackedLevel& level : network.levels) {
      count(level.conv.layer);
      if (level.mix.layer.rows > 0) count(level.mix.layer);
    }
    count(network.shrink.layer);
  }
  packed_ = allocate_untouched(most);
  for (int thread = 0; thread < pool.threads(); ++thread)
    scratch_.push_back(allocate_untouched(kScratchBytes));
}

void WorkSharing::run(const std::vector<Phase>& phases) {
  pool_.run([&](int thread) {
    for (const Phase& phase : phases) {
      run_in_place(phase, thread);
      bool packed = false;
      for (std::size_t i = 0; i < phase.products.size(); ++i) {
        if (reads_in_place(phase.calls[i])) continue;
        if (packed) pool_.barrier();
        run_packed(*phase.products[i], phase.calls[i], thread);
        packed = true;
      }
      if (&phase != &phases.back()) pool_.barrier();
    }
  });
}

template <class Units, class Compute>
void WorkSharing::take_units(int thread, const Units& units_of, const Compute& compute) {
  const int threads = pool_.threads();
  for (int i = 0; i < std::min(threads, kNeighbours); ++i) {
    const int owner = (thread + i) % threads;
    const std::int64_t units = units_of(owner);
    for (std::int64_t unit; (unit = pool_.take_unit(owner, units)) >= 0;) compute(owner, unit);
  }
}

void WorkSharing::run_in_place(const Phase& phase, int thread) {
  // Units of all products in a row.
  const auto units_of = [&](std::size_t product, int owner) {
    if (!reads_in_place(phase.calls[product])) return std::int64_t{0};
    const Share& share = phase.products[product]->shares[static_cast<std::size_t>(owner)];
    return ceil_div(share.n_panels, kMostPanels);
  };
  const auto all_units_of = [&](int owner) {
    std::int64_t units = 0;
    for (std::size_t i = 0; i < phase.products.size(); ++i) units += units_of(i, owner);
    return units;
  };
  take_units(thread, all_units_of, [&](int owner, std::int64_t unit) {
    std::size_t i = 0;
    for (; unit >= units_of(i, owner); ++i) unit -= units_of(i, owner);
    const LayerCall& call = phase.calls[i];
    if (call.n_columns == 0) return;
    const Product& product = *phase.products[i];
    const Share& share = product.shares[static_cast<std::size_t>(owner)];
    kernels_.layer(call.layer->type).in_place(call, unit_of(product, share, unit, kMostPanels));
  });
}

void WorkSharing::run_packed(const Product& product, const LayerCall& call, int thread) {
  const LayerKernels& kernels = kernels_.layer(call.layer->type);
  const int threads = pool_.threads();
  const std::int64_t panels =
      std::clamp<std::int64_t>(product.layer.rows / kernels_.panel_rows / (threads * kUnits), 1,
                               kMostPanels);
  const std::int64_t chunks = ceil_div(
      call.n_columns, tiles_at_once(kernels_, *call.layer) * kernels.tile_columns);
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t first = call.n_columns * i / chunks;
    const Chunk chunk{first, call.n_columns * (i + 1) / chunks - first};
    if (i > 0) pool_.barrier();
    kernels.pack(call, chunk, thread, threads, packed_.get());
    pool_.barrier();
    const auto units_of = [&](int owner) {
      return ceil_div(product.shares[static_cast<std::size_t>(owner)].n_panels, panels);
    };
    take_units(thread, units_of, [&](int owner, std::int64_t unit) {
      const Share& share = product.shares[static_cast<std::size_t>(owner)];
      kernels.packed(call, chunk, unit_of(product, share, unit, panels), packed_.get(),
                     scratch_[static_cast<std::size_t>(thread)].get());
    });
  }
}

}  // namespace vp3d::cpu
