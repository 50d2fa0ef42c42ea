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
};

// Throws WeightsError for a file that does not hold the networks, and std::invalid_argument for
// impossible specs, lags and grids, and for networks that do not read the same frames.
std::vector<std::byte> build_image(const cpu::SafetensorsFile& file,
                                   const std::vector<Network>& networks, Precision precision,
                                   std::int64_t lag, const Grid& grid);

inline const Image& header_of(const std::vector<std::byte>& image) {
  return *reinterpret_cast<const Image*>(image.data());
}

// A frame in the form in which it is copied to the device. keypoints: (rows, inputs) float32.
std::vector<std::byte> build_frame(const Image& image, const std::vector<Row>& rows,
                                   const float* keypoints, std::int64_t inputs);

}  // namespace vp3d::cuda
