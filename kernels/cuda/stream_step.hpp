// One frame of every live stream, for host and device: `run_step` in one launch of a grid whose
// blocks are all there at once, or `run_phase` in one ordinary launch for each phase.
#pragma once

#include "product.hpp"

namespace vp3d::cuda {

// This frame's inputs, for the frames to come; nobody reads these slots in the first phase. Every
// n-th row is a block's.
template <class Block>
VP3D_HD void keep_inputs(Block& block, const Launch& launch) {
  const Product& first = launch.table<Product>(launch.header().product_table)[0];
  const auto words = static_cast<int>(first.below.bytes / kLaneBytes);
  block.threads([&](int thread) {
    for (int index = block.index(); index < launch.rows(); index += block.n_blocks()) {
      const Row row = launch.row(index);
      std::byte* to = launch.place(row) + own_offset(first.below, 0, row.frames, false);
      for (int word = thread; word < words; word += block.n_warps() * kLanes)
        *reinterpret_cast<Words*>(to + word * kLaneBytes) =
            load(launch.input(index) + word * kLaneBytes);
    }
  });
}

// A block's items of one phase. `staged`: their weights have come to shared memory, where there was
// room for them.
template <class Block>
VP3D_HD void run_phase(Block& block, const Launch& launch, int phase, bool staged) {
  const Image& header = launch.header();
  if (phase == 0) keep_inputs(block, launch);
  const auto* first_items =
      launch.table<std::int32_t>(header.first_items) + block.index() * header.phases + phase;
  for (int i = first_items[0]; i < first_items[1]; ++i) {
    const Item& item = launch.table<Item>(header.item_table)[i];
    const Product& product = launch.table<Product>(header.product_table)[item.product];
    const std::byte* weights = staged && item.shared >= 0 ? block.shared_weights() + item.shared
                                                          : launch.image + item.weights;
    const Work work{&launch, &product, weights, item.tile, 0, 0};
    if (product.type == Number::f32)
      run_tile<Number::f32>(block, work);
    else if (product.type == Number::f16)
      run_tile<Number::f16>(block, work);
    else
      run_tile<Number::i8>(block, work);
  }
}

// All phases. Every weight that has room in shared memory is under way before the first product.
template <class Block>
VP3D_HD void run_step(Block& block, const Launch& launch) {
  const Image& header = launch.header();
  const Stage* stages = launch.table<Stage>(header.stage_table) + block.index() * header.phases;
  block.begin_staging(launch.image, stages, header.phases);
  for (int phase = 0; phase < header.phases; ++phase) {
    if (phase > 0) block.grid_barrier();
    if (stages[phase].bytes > 0) block.await_stage(phase);
    run_phase(block, launch, phase, true);
  }
}

}  // namespace vp3d::cuda
