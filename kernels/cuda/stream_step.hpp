// One frame of every live stream, for host and device: `run_step` in one launch of a grid whose
// blocks are all there at once, or `run_phase` in one ordinary launch for each phase.
#pragma once

#include "product.hpp"
#include "stream_processing.hpp"

namespace vp3d::cuda {

// Dynamic shared memory of a block: one 8-byte mbarrier for each phase, the warps' sums, tables,
// frame and inputs that are kept near, and behind these kFixedBytes the staged weights.
constexpr int kMostPhases = 32;
constexpr int kBarrierBytes = kMostPhases * 8;
constexpr int kFixedBytes =
    kBarrierBytes + kPartialBytes + kNearTableBytes + kNearFrameBytes + kNearInputBytes;

// This frame's inputs, for the frames to come; nobody reads these slots in the first phase. Every
// n-th row is a block's.
template <class Block>
VP3D_HD void keep_inputs(Block& block, const Launch& launch) {
  const Product& first = launch.near_table<Product>(launch.header().product_table)[0];
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
    const Product& product = launch.near_table<Product>(header.product_table)[item.product];
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

// Copies whole Words: both come in multiples, and so does the room.
template <class Block>
VP3D_HD void copy_near(Block& block, const std::byte* from, std::int64_t bytes, std::byte* to) {
  block.threads([&](int thread) {
    const int stride = block.n_warps() * kLanes * kLaneBytes;
    for (std::int64_t at = thread * kLaneBytes; at < bytes; at += stride)
      *reinterpret_cast<Words*>(to + at) = load(from + at);
  });
}

// Copies of tables and a small frame come near; what the network reads of it too.
template <class Block>
VP3D_HD void fetch_near(Block& block, Launch& launch) {
  const std::int64_t near_bytes = launch.header().near_bytes;
  if (near_bytes <= kNearTableBytes) {
    copy_near(block, launch.image, near_bytes, block.near_tables());
    launch.tables = block.near_tables();
  }
  const Image& header = launch.header();
  const std::int64_t frame_bytes = frame_inputs(launch.rows(), header.frame_view_bytes) +
                                   launch.rows() * header.frame_row_bytes;
  if (frame_bytes <= kNearFrameBytes) {
    copy_near(block, launch.frame, frame_bytes, block.near_frame());
    launch.frame = block.near_frame();
  }
}

// Pixels become what the network reads: in every block again where that is little, or else once, with
// a barrier of the grid behind it.
template <class Block>
VP3D_HD void prepare_inputs(Block& block, Launch& launch) {
  const Image& header = launch.header();
  if (header.processing.joints_seen == 0) return;
  const int numbers = prepared_numbers(launch), threads = block.n_warps() * kLanes;
  const std::int64_t bytes = launch.rows() * header.prepared_bytes;
  if (bytes <= kNearInputBytes) {
    // Columns end with zeros.
    block.threads([&](int thread) {
      for (std::int64_t at = thread * kLaneBytes; at < bytes; at += threads * kLaneBytes)
        *reinterpret_cast<Words*>(block.near_inputs() + at) = Words{};
    });
    block.threads([&](int thread) {
      for (int i = thread; i < numbers; i += threads)
        prepare_number(launch, i, block.near_inputs());
    });
    launch.prepared = block.near_inputs();
    return;
  }
  block.threads([&](int thread) {
    for (int i = block.index() * threads + thread; i < numbers; i += block.n_blocks() * threads)
      prepare_number(launch, i, nullptr);
  });
  block.grid_barrier();
}

template <class Block>
VP3D_HD void finish_answers(Block& block, const Launch& launch) {
  if (launch.header().processing.add_trajectory == 0) return;
  block.grid_barrier();
  const int numbers = finished_numbers(launch), threads = block.n_warps() * kLanes;
  block.threads([&](int thread) {
    for (int i = block.index() * threads + thread; i < numbers; i += block.n_blocks() * threads)
      finish_number(launch, i);
  });
}

// All phases. Every weight that has room in shared memory is under way before the first product.
template <class Block>
VP3D_HD void run_step(Block& block, const Arguments& arguments) {
  Launch launch(arguments);
  const Image& image = launch.header();
  const Stage* stages = launch.table<Stage>(image.stage_table) + block.index() * image.phases;
  const int phases = image.phases;
  block.begin_staging(launch.image, stages, phases);
  fetch_near(block, launch);
  prepare_inputs(block, launch);
  for (int phase = 0; phase < phases; ++phase) {
    if (phase > 0) block.grid_barrier();
    if (stages[phase].bytes > 0) block.await_stage(phase);
    run_phase(block, launch, phase, true);
  }
  finish_answers(block, launch);
}

}  // namespace vp3d::cuda
