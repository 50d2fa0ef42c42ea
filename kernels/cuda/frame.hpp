// Frames of live streams written into memory that is there already, once a frame and row.
#pragma once

#include "image.hpp"

namespace vp3d::cuda {

// As build_frame, into frame_bytes of any content; views: null where processing needs none. What
// pads columns has to be zero, for products read it.
inline void write_frame(const Image& image, const Row* rows, std::int64_t n, const float* keypoints,
                        const View* views, std::byte* into) {
  const Frame header{static_cast<std::int32_t>(n)};
  std::memcpy(into, &header, sizeof header);
  const auto size = static_cast<std::size_t>(n);
  if (n > 0) std::memcpy(into + kStepBytes, rows, size * sizeof(Row));
  if (n > 0 && views != nullptr)
    std::memcpy(into + frame_views(n), views, size * sizeof(View));
  const std::int64_t numbers = frame_numbers(image);
  const auto bytes = static_cast<std::size_t>(numbers) * sizeof(float);
  std::byte* column = into + frame_inputs(n, image.frame_view_bytes);
  for (std::int64_t i = 0; i < n; ++i, column += image.frame_row_bytes) {
    std::memcpy(column, keypoints + i * numbers, bytes);
    std::memset(column + bytes, 0, static_cast<std::size_t>(image.frame_row_bytes) - bytes);
  }
}

}  // namespace vp3d::cuda
