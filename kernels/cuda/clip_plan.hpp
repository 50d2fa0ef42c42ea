// Windows and whole clips on the GPU: an image of packed weights, and for each shape of input a plan
// of the launches that make its answers. Built on the host; no CUDA is needed.
//
// What a runtime does with them:
//
//   1. `ClipWeights` once for a network file and precision: copy `image()` to device memory that
//      begins at a multiple of 256 bytes, as device allocations do. Windows and sequences of every
//      shape share it.
//   2. `plan_window` or `plan_sequence` once for a shape. Device memory of `input_bytes`,
//      `workspace_bytes` and `answer_bytes`; none needs initial values, and all three may be larger
//      than a plan says, so that plans can share them as long as they do not overlap in time.
//   3. For each call: copy the input, launch everything in order in one stream, copy the answers
//      back. A launch is the function `kernel` of the fatbin, grid (blocks, 1, 1), block
//      (threads, 1, 1), `shared_bytes` of dynamic shared memory, and *one* parameter, passed by
//      value: the bytes `arguments`, whose first four 8-byte words receive the addresses of image,
//      input, workspace and answers. Above 48 KB, the function's attribute
//      MAX_DYNAMIC_SHARED_SIZE_BYTES must be raised to `shared_bytes` first. Arguments do not change
//      between calls, so the launches can be captured as a graph.
//
// Input: float32 (batch, frames, J_in, F), normalised screen units, frames = R for windows and the
// padded clip's for sequences. With Processing (processing.hpp): `batch` Views, then float32
// (batch, frames, J_source, 2 or 3) pixels.
// Answers: float32 (batch, T, J_out, 3) for each network, one after another, T = 1 for windows and
// frames - R + 1 for sequences; `answers` says where each begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "clip_frames.hpp"
#include "kernel_choice.hpp"
#include "safetensors.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::cuda {

// Where a layer's weights are in the image, and what they are.
struct ClipLayer {
  Number type = Number::f32;
  std::int64_t rows = 0, taps = 1, inputs = 0;
  std::int64_t weights = 0, bias = 0, scale = 0;
  float input_scale = 1.0F;
};

class ClipWeights {
 public:
  // Throws WeightsError for a file that does not hold the networks, and std::invalid_argument for
  // impossible specs and processing, and for networks that do not read the same frames.
  ClipWeights(const cpu::SafetensorsFile& file, const std::vector<Network>& networks,
              Precision precision, const Processing& processing = {});

  const std::vector<std::byte>& image() const { return image_; }
  // The same, given away: plans need it no more.
  std::vector<std::byte> take_image() { return std::move(image_); }
  const std::vector<Network>& networks() const { return networks_; }

 private:
  friend class ClipPlanner;

  std::vector<Network> networks_;
  Processing processing_;
  std::vector<std::byte> image_;
  std::vector<std::vector<ClipLayer>> layers_;  // by network, in the order of read_layers
  ProcessingTables tables_{};
};

struct ClipPlan {
  std::int64_t batch = 0, frames = 0;  // of the input
  std::int64_t answer_frames = 0;      // of each item of the batch
  std::int64_t input_bytes = 0, workspace_bytes = 0, answer_bytes = 0;
  std::vector<std::int64_t> answers;   // for each network, in bytes
  std::vector<ClipLaunch> launches;
};

// Each throws std::invalid_argument for a batch that is not positive, for fewer frames than the
// receptive field, and for more columns than 32 bits count: split such a clip.
ClipPlan plan_window(const ClipWeights& weights, std::int64_t batch, const Device& device);
ClipPlan plan_sequence(const ClipWeights& weights, std::int64_t batch, std::int64_t frames,
                       const Device& device);

}  // namespace vp3d::cuda
