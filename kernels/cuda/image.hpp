// The image of a live stream (program.hpp), built on the host from a weights file; and the frames
// that go with it. No CUDA is needed for either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "program.hpp"
#include "safetensors.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::cuda {

// What the kernels will run on.
struct Grid {
  int blocks = 1;                 // one for each multiprocessor
  std::int64_t shared_bytes = 0;  // for staged weights, in each block; none below sm_80
  int tensor_columns = 0;         // tensor cores from so many columns on; 0 for never
  // Of the second-level cache. Half of it is filled with weights ahead of their use; more would push
  // out what was fetched first.
  std::int64_t cache_bytes = 0;
};

// Throws WeightsError for a file that does not hold the networks, and std::invalid_argument for
// impossible specs, lags, grids and processing, and for networks that do not read the same frames.
std::vector<std::byte> build_image(const cpu::SafetensorsFile& file,
                                   const std::vector<Network>& networks, Precision precision,
                                   std::int64_t lag, const Grid& grid,
                                   const Processing& processing = {});

inline const Image& header_of(const std::vector<std::byte>& image) {
  return *reinterpret_cast<const Image*>(image.data());
}

// How many numbers a frame has for each row: those that the network reads, or with processing those
// of the skeleton seen.
inline std::int64_t frame_numbers(const Image& image) {
  const ProcessingTables& tables = image.processing;
  return static_cast<std::int64_t>(tables.joints_seen > 0 ? tables.joints_seen
                                                          : tables.joints_in) *
         tables.features;
}

// A frame in the form in which it is copied to the device. keypoints: (rows, frame_numbers) float32.
// views: one for each row where the image's processing needs them, else none.
std::vector<std::byte> build_frame(const Image& image, const std::vector<Row>& rows,
                                   const float* keypoints, const std::vector<View>& views = {});

}  // namespace vp3d::cuda
