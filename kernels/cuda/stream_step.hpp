// One frame of every live stream, for host and device: `run_step` in one launch of a grid whose
// blocks are all there at once, or `run_phase` in one ordinary launch for each phase.
#pragma once

#include "product.hpp"
#include "stream_processing.hpp"

namespace vp3d::cuda {

// Dynamic shared memory of a block: one 8-byte mbarrier for each phase, the warps' sums, where inputs
// are and outputs go, tables, frame and inputs that are kept near, and behind these kFixedBytes what
// the block has to do and the staged weights.
constexpr int kMostPhases = 32;
constexpr int kBarrierBytes = kMostPhases * 8;
constexpr int kFixedBytes = kBarrierBytes + kPartialBytes + kFoundBytes + kEndingBytes +
                            kNearTableBytes + kNearFrameBytes + kNearInputBytes;

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

// A block's items of one phase begin with this work. `staged`: their weights have come to shared
// memory, where there was room for them.
template <class Block>
VP3D_HD Work work_of(Block& block, const Launch& launch, const Item& item, bool staged) {
  const Image& header = launch.header();
  const Product& product = launch.near_table<Product>(header.product_table)[item.product];
  const std::byte* weights =
      staged && item.shared >= 0 ? block.near_duties() + item.shared : launch.image + item.weights;
  const int networks = header.products / header.phases, network = item.product % networks;
  const int columns = columns_of(launch, product);
  const bool found = network < kFoundProducts && columns * product.taps <= kFoundColumns;
  return {&launch, &product, &item, weights,
          found ? block.found() + network * kFoundColumns : nullptr, columns, 0, 0};
}

// What a phase does not wait for: where its inputs are, and of the block's first item where its
// outputs go and what is added to them. Only columns that are two phases old are read.
template <class Block>
VP3D_HD void prepare_phase(Block& block, const Launch& launch, const Duties& duties, int phase) {
  const Image& header = launch.header();
  const int networks = header.products / header.phases;
  for (int network = 0; network < networks && network < kFoundProducts; ++network) {
    const Product& product =
        launch.near_table<Product>(header.product_table)[phase * networks + network];
    const int columns = columns_of(launch, product), count = columns * product.taps;
    if (count > kFoundColumns) continue;
    const std::byte** found = block.found() + network * kFoundColumns;
    block.own([&](int thread) {
      for (int i = thread; i < count; i += block.n_warps() * kLanes) {
        const int tap = i / columns, column = i - tap * columns;
        found[i] = input_of(launch, product, column / product.columns, column % product.columns,
                            tap);
      }
    });
  }
  if (duties.first_item(phase) == duties.first_item(phase + 1)) return;
  const Item& item = duties.item(duties.first_item(phase));
  find_endings(block, chunk_of(block, work_of(block, launch, item, false)));
}

// A block's items of one phase, which prepare_phase has prepared.
template <class Block>
VP3D_HD void run_items(Block& block, const Launch& launch, const Duties& duties, int phase,
                       bool staged) {
  if (phase == 0) keep_inputs(block, launch);
  const int first = duties.first_item(phase), end = duties.first_item(phase + 1);
  for (int i = first; i < end; ++i) {
    const Work work = work_of(block, launch, duties.item(i), staged);
    if (work.product->type == Number::f32)
      run_tile<Number::f32>(block, work, i == first);
    else if (work.product->type == Number::f16)
      run_tile<Number::f16>(block, work, i == first);
    else
      run_tile<Number::i8>(block, work, i == first);
  }
}

// One phase as a launch of its own.
template <class Block>
VP3D_HD void run_phase(Block& block, const Launch& launch, int phase) {
  const Duties duties = launch.duties(block.index());
  prepare_phase(block, launch, duties, phase);
  block.barrier();
  run_items(block, launch, duties, phase, false);
}

// Copies whole Words: both come in multiples, and so does the room. No barrier of the block behind.
template <class Block>
VP3D_HD void copy_near(Block& block, const std::byte* from, std::int64_t bytes, std::byte* to) {
  block.own([&](int thread) {
    const int stride = block.n_warps() * kLanes * kLaneBytes;
    for (std::int64_t at = thread * kLaneBytes; at < bytes; at += stride)
      *reinterpret_cast<Words*>(to + at) = load(from + at);
  });
}

// Copies of tables and a small frame come near; what the network reads of it too. A frame has one
// row at least, whose part is asked for before it is known whether there are more: the frame may lie
// in the host's memory, far away.
template <class Block>
VP3D_HD void fetch_near(Block& block, Launch& launch) {
  const Image& global = launch.header();
  const std::int64_t least = frame_bytes(global, 1);
  const int rows = launch.rows();
  if (least <= kNearFrameBytes) {
    block.own([&](int thread) {
      const std::int64_t at = thread * kLaneBytes, threads = block.n_warps() * kLanes;
      const Words first = at < least ? load(launch.frame + at) : Words{};
      const std::int64_t bytes = frame_bytes(global, rows);
      if (bytes > kNearFrameBytes) return;
      if (at < least) *reinterpret_cast<Words*>(block.near_frame() + at) = first;
      for (std::int64_t i = at + (at < least ? threads * kLaneBytes : 0); i < bytes;
           i += threads * kLaneBytes)
        *reinterpret_cast<Words*>(block.near_frame() + i) = load(launch.frame + i);
    });
  }
  const bool frame_near =
      least <= kNearFrameBytes && frame_bytes(global, rows) <= kNearFrameBytes;
  const std::int64_t near_bytes = global.near_bytes;
  if (global.duties_near != 0)
    copy_near(block, launch.duties(block.index()).at, global.duty_bytes, block.near_duties());
  if (near_bytes <= kNearTableBytes) {
    copy_near(block, launch.image, near_bytes, block.near_tables());
    launch.tables = block.near_tables();
  }
  block.barrier();
  if (frame_near) launch.frame = block.near_frame();
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
  block.arrive();
  block.await_others();
}

template <class Block>
VP3D_HD void finish_answers(Block& block, const Launch& launch) {
  if (launch.header().processing.add_trajectory == 0) return;
  block.arrive();
  block.await_others();
  const int numbers = finished_numbers(launch), threads = block.n_warps() * kLanes;
  block.threads([&](int thread) {
    for (int i = block.index() * threads + thread; i < numbers; i += block.n_blocks() * threads)
      finish_number(launch, i);
  });
}

// All phases. Every weight that has room in shared memory is under way before the first product, and
// what can be known of a phase before the others have come to it is known by then.
template <class Block>
VP3D_HD void run_step(Block& block, const Arguments& arguments) {
  Launch launch(arguments);
  Duties duties = launch.duties(block.index());
  block.begin_staging(launch.image, duties);
  fetch_near(block, launch);
  if (launch.header().duties_near != 0) duties.at = block.near_duties();
  block.fetch_rest(launch.image, duties);
  prepare_inputs(block, launch);
  for (int phase = 0; phase < duties.phases; ++phase) {
    if (phase > 0) block.arrive();
    prepare_phase(block, launch, duties, phase);
    if (duties.stage(phase).bytes > 0) block.await_stage(phase);
    if (phase > 0)
      block.await_others();
    else
      block.barrier();
    run_items(block, launch, duties, phase, true);
  }
  finish_answers(block, launch);
}

}  // namespace vp3d::cuda
