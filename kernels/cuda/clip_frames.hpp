// What surrounds the network in windows and sequences: before the first layer, pixels to what the
// network reads; behind the last, answers to positions. One number is one thread's.
#pragma once

#include "clip.hpp"

namespace vp3d::cuda {

// Networks whose answers one launch finishes.
constexpr int kMostNetworks = 4;

// The answers of a network within the workspace and among those that are copied back, in bytes.
struct ClipAnswer {
  std::int64_t inside, outside;
  std::int32_t rows, unused;
};

struct ClipFrames {
  const std::byte* image;
  const std::byte* input;
  std::byte* workspace;
  float* answers;
  ProcessingTables tables;
  std::int64_t views, seen;  // in the input
  std::int64_t prepared;     // in the workspace: dense float32 (frames, joints_in * features)
  std::int64_t frames;       // of the whole batch
  std::int64_t item_frames;  // of one item
  ClipAnswer networks[kMostNetworks];
  std::int32_t n_networks, unused;
};

VP3D_HD const View& view_of(const ClipFrames& frames, std::int64_t frame) {
  return reinterpret_cast<const View*>(frames.input + frames.views)[frame / frames.item_frames];
}

VP3D_HD std::int64_t prepared_numbers(const ClipFrames& frames) {
  return frames.frames * frames.tables.joints_in * frames.tables.features;
}

VP3D_HD void prepare_number(const ClipFrames& frames, std::int64_t index) {
  const ProcessingTables& tables = frames.tables;
  const std::int64_t width = static_cast<std::int64_t>(tables.joints_in) * tables.features;
  const std::int64_t frame = index / width;
  const auto within = static_cast<int>(index % width);
  const auto* seen = reinterpret_cast<const float*>(frames.input + frames.seen) +
                     frame * tables.joints_seen * tables.features;
  reinterpret_cast<float*>(frames.workspace + frames.prepared)[index] = prepared_value(
      tables, reinterpret_cast<const std::int32_t*>(frames.image + tables.joints),
      reinterpret_cast<const float*>(frames.image + tables.shares), view_of(frames, frame), seen,
      within / tables.features, within % tables.features);
}

VP3D_HD std::int64_t finished_numbers(const ClipFrames& frames) {
  std::int64_t rows = 0;
  for (int i = 0; i < frames.n_networks; ++i) rows += frames.networks[i].rows;
  return frames.frames * rows;
}

// Of the first network's numbers, then the second's, and so on; the last is the trajectory.
VP3D_HD void finish_number(const ClipFrames& frames, std::int64_t index) {
  int network = 0;
  while (index >= frames.frames * frames.networks[network].rows)
    index -= frames.frames * frames.networks[network++].rows;
  const ClipAnswer &own = frames.networks[network],
                   &root = frames.networks[frames.n_networks - 1];
  const std::int64_t frame = index / own.rows;
  const auto row = static_cast<int>(index % own.rows);
  const auto* point = reinterpret_cast<const float*>(frames.workspace + own.inside) +
                      frame * own.rows + row / 3 * 3;
  const float* root_point =
      network + 1 == frames.n_networks
          ? nullptr
          : reinterpret_cast<const float*>(frames.workspace + root.inside) + frame * 3;
  const View* view = frames.tables.to_world != 0 ? &view_of(frames, frame) : nullptr;
  *(reinterpret_cast<float*>(reinterpret_cast<std::byte*>(frames.answers) + own.outside) + index) =
      finished_value(frames.tables, view, point, root_point, row % 3);
}

}  // namespace vp3d::cuda
