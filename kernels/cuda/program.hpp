// What the stream kernels are told: tables that lie, with the weights, in one *image* in device
// memory, and one small *frame* that is copied there for each step.
//
// A *phase* is one layer of all networks; phases are separated by barriers of the whole grid. An
// *item* is one tile of one product, and belongs to one block. A *place* is the memory of one live
// stream: rings, the columns of this frame that no ring keeps, and the middle of each level. All
// offsets are in bytes; those of tables count from the start of the image.
#pragma once

#include "layout.hpp"
#include "processing.hpp"

namespace vp3d::cuda {

constexpr std::uint64_t kImageMagic = 0x3244334456443356;

// As in vp3d/plan.hpp, a column of this frame (age 0) or the true column of `age` frames ago.
struct Tap {
  std::int32_t column;  // 0 true, 1 straddling, 2 constant
  std::int32_t age;
};

// The columns of one level within a place. `narrow` copies are what a layer with f16 or i8 weights
// reads; residuals and layers with f32 weights read float32.
struct Store {
  std::int64_t ring, others, bytes;
  std::int64_t narrow_ring, narrow_others, narrow_bytes;
  std::int32_t slots, narrow_slots;
};

enum class Role : std::int32_t { first, conv, mix, shrink };

struct Product {
  Role role;
  Number type;      // of the weights and inputs
  Number narrow;    // of the copy of the outputs for the next layer; f32: none
  std::int32_t columns;  // computed per stream
  std::int32_t taps, tap_steps, rows;
  std::int32_t residual_tap;  // of the level's convolution
  float quantum;              // of a narrow copy in 8 bits
  std::int32_t answer;        // of shrink: where the answer begins, in floats
  std::int64_t tap_table;     // Tap[columns][level_taps], those of the level's convolution
  std::int64_t kind_table;    // int32[columns], as Tap::column
  std::int32_t level_taps;
  std::int32_t pad;
  std::int64_t tile_table;    // int64[tiles]: where the weights of each are
  std::int64_t bias, scale;  // float[rows]; scale is of the weights times that of the inputs
  std::int64_t middle, middle_bytes;
  Store below, own;
};

// With what its rows are finished with, of rows that are not there zeros: what does not depend on the
// frame is in one place, and a block has it at hand before it waits for anything.
struct alignas(kLaneBytes) Item {
  std::int64_t weights;  // in the image
  std::int32_t product, tile;
  std::int32_t shared;  // where the weights are in shared memory, or -1: they stay where they are
  std::int32_t pad[3];
  float bias[kTileRows], scale[kTileRows];
};

// What a block copies to shared memory for one phase, and, behind that, what has no room there: of
// this, `fetched` bytes are asked for ahead, into the second-level cache.
struct Stage {
  std::int64_t from;
  std::int32_t to, bytes;
  std::int64_t rest, fetched;
};

// All that one block has to do, in one piece: Stage[phases]; int32[phases + 1], where each phase's
// items begin among the block's; Item[].
struct Duties {
  const std::byte* at;
  std::int32_t phases;

  static VP3D_HD constexpr std::int64_t first_items_at(std::int64_t phases) {
    return phases * static_cast<std::int64_t>(sizeof(Stage));
  }
  static VP3D_HD constexpr std::int64_t items_at(std::int64_t phases) {
    return ceil_div(first_items_at(phases) + (phases + 1) * 4, kLaneBytes) * kLaneBytes;
  }
  VP3D_HD const Stage& stage(int phase) const {
    return reinterpret_cast<const Stage*>(at)[phase];
  }
  // The items of a phase are those from its own number to the next phase's.
  VP3D_HD int first_item(int phase) const {
    return reinterpret_cast<const std::int32_t*>(at + first_items_at(phases))[phase];
  }
  VP3D_HD const Item& item(int index) const {
    return reinterpret_cast<const Item*>(at + items_at(phases))[index];
  }
};

struct Image {
  std::uint64_t magic;
  std::int64_t bytes, place_bytes, frame_row_bytes;
  std::int32_t phases, blocks, products, answer_floats;
  std::int32_t tensor_columns;  // tensor cores from so many columns on; 0: never
  std::int32_t staged_bytes;    // of shared memory, of the block that has most: duties and weights
  std::uint32_t frame_cycle;    // see next_frame
  std::int32_t near_bytes;      // of the image's beginning: header, products, taps, kinds
  std::int64_t product_table;   // Product[products]
  std::int64_t duties, duty_bytes;  // Duties of each block, so far apart
  std::int32_t duties_near, pad;    // 1: they have room in shared memory, before the weights
  ProcessingTables processing;
  std::int64_t frame_view_bytes;  // of each row's View in a frame, or 0
  // In a place, where there is processing: what the network reads of this frame, and the answer
  // before the trajectory is added.
  std::int64_t prepared, prepared_bytes, raw_answer;
};

// One live stream: how many frames it has seen before this one, and which place is its own.
struct Row {
  std::uint32_t frames;
  std::uint32_t place;
};

// Row::frames of the next step. It must not run over: rings repeat themselves after `cycle` frames,
// so it is kept below two cycles, and a stream that is not young does not become so again. 0, where
// a cycle is too long, lets it run for two years at 60 frames a second.
VP3D_HD constexpr std::uint32_t next_frame(std::uint32_t frames, std::uint32_t cycle) {
  return cycle > 0 && frames + 1 >= 2 * cycle ? frames + 1 - cycle : frames + 1;
}

// Followed by Row[rows], padded to whole steps, by View[rows] where there is processing that needs
// them, and by float columns of inputs, one for each row.
struct alignas(kStepBytes) Frame {
  std::int32_t rows;
};

VP3D_HD constexpr std::int64_t frame_views(std::int64_t rows) {
  return kStepBytes + column_bytes(rows * 2, Number::f32);
}
VP3D_HD constexpr std::int64_t frame_inputs(std::int64_t rows, std::int64_t view_bytes) {
  return frame_views(rows) + rows * view_bytes;
}

VP3D_HD std::int64_t frame_bytes(const Image& image, std::int64_t rows) {
  return frame_inputs(rows, image.frame_view_bytes) + rows * image.frame_row_bytes;
}

// What a kernel is given.
struct Arguments {
  const std::byte* image;
  std::byte* places;
  const std::byte* frame;
  float* answers;  // (rows, answer_floats)
  std::byte* workspace = nullptr;  // of split products (stream_split.hpp), where there are any
};

// The same as a block sees it: it may have copies of the image's first `near_bytes` and of a small
// frame, which every product looks up again and again.
struct Launch : Arguments {
  const std::byte* tables;
  const std::byte* prepared = nullptr;  // columns of what the network reads, in shared memory

  VP3D_HD explicit Launch(const Arguments& arguments)
      : Arguments(arguments), tables(arguments.image) {}

  VP3D_HD const Image& header() const { return *reinterpret_cast<const Image*>(tables); }
  // One of those in the image's beginning.
  template <class Entry>
  VP3D_HD const Entry* near_table(std::int64_t offset) const {
    return reinterpret_cast<const Entry*>(tables + offset);
  }
  template <class Entry>
  VP3D_HD const Entry* table(std::int64_t offset) const {
    return reinterpret_cast<const Entry*>(image + offset);
  }
  VP3D_HD int rows() const { return reinterpret_cast<const Frame*>(frame)->rows; }
  VP3D_HD Row row(int index) const {
    return reinterpret_cast<const Row*>(frame + kStepBytes)[index];
  }
  VP3D_HD const View* view(int index) const {
    return reinterpret_cast<const View*>(frame + frame_views(rows())) + index;
  }
  // As it came.
  VP3D_HD const std::byte* seen(int index) const {
    return frame + frame_inputs(rows(), header().frame_view_bytes) +
           index * header().frame_row_bytes;
  }
  // As the network reads it.
  VP3D_HD const std::byte* input(int index) const {
    if (prepared != nullptr) return prepared + index * header().prepared_bytes;
    if (header().processing.joints_seen > 0) return place(row(index)) + header().prepared;
    return seen(index);
  }
  VP3D_HD Duties duties(int block) const {
    return {image + header().duties + block * header().duty_bytes, header().phases};
  }
  VP3D_HD std::byte* place(const Row& row) const {
    return places + static_cast<std::int64_t>(row.place) * header().place_bytes;
  }
};

// A column of the level itself, or, with narrow set, its narrow copy.
VP3D_HD std::int64_t own_offset(const Store& store, int kind, std::uint32_t frames, bool narrow) {
  const std::int64_t bytes = narrow ? store.narrow_bytes : store.bytes;
  if (kind > 0) return (narrow ? store.narrow_others : store.others) + (kind - 1) * bytes;
  const auto slots = static_cast<std::uint32_t>(narrow ? store.narrow_slots : store.slots);
  return (narrow ? store.narrow_ring : store.ring) + frames % slots * bytes;
}

// A column of the level below. A stream begins as if its first frame had always been there: what is
// older than the stream is the column of its first frame, which stays in its slot until nothing
// older is read.
VP3D_HD std::int64_t below_offset(const Store& store, const Tap& tap, std::uint32_t frames,
                                  bool narrow) {
  const auto age = static_cast<std::uint32_t>(tap.age);
  return own_offset(store, tap.age > 0 ? 0 : tap.column, frames - (age < frames ? age : frames),
                    narrow);
}

// Column `column` of a row, as input of a product. A frame's own input is read from the frame: it
// is not in its ring before the first phase ends.
VP3D_HD const std::byte* input_of(const Launch& launch, const Product& product, int row_index,
                                  int column, int tap_index) {
  const Row row = launch.row(row_index);
  const std::byte* place = launch.place(row);
  if (product.role == Role::mix) return place + product.middle + column * product.middle_bytes;
  const Tap tap =
      launch.near_table<Tap>(product.tap_table)[column * product.level_taps + tap_index];
  if (product.role == Role::first && (tap.age == 0 || row.frames == 0))
    return launch.input(row_index);
  return place + below_offset(product.below, tap, row.frames, product.type != Number::f32);
}

}  // namespace vp3d::cuda
