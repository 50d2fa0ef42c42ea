// The CUDA engine's images, frames and plans as Python sees them (vp3d_deploy/_native.pyi). They are
// made on the host; no CUDA is needed.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "clip_plan.hpp"
#include "image.hpp"

namespace vp3d::python {

// Hands `bytes` over to a NumPy array of uint8, which keeps them; nothing is copied.
nanobind::object as_numpy(std::vector<std::byte> bytes);

class PyCudaImage {
 public:
  // weights: str or os.PathLike. networks: objects like vp3d_deploy.spec.ModelSpec by name.
  // processing: see processing_from.
  PyCudaImage(nanobind::handle weights, nanobind::dict networks, const std::string& precision,
              std::int64_t lag, int blocks, std::int64_t shared_bytes, int tensor_columns,
              std::int64_t cache_bytes, nanobind::handle processing);

  const cuda::Image& header() const { return cuda::header_of(image_); }
  nanobind::object take_bytes();
  std::int64_t columns(std::int64_t rows) const;
  std::int64_t frame_bytes(std::int64_t rows) const;
  std::int64_t write_frame(nanobind::handle into, nanobind::handle rows,
                           nanobind::handle keypoints, nanobind::handle views) const;
  void advance(nanobind::handle rows) const;
  std::vector<cuda::ClipLaunch> wide_launches(std::int64_t rows, const cuda::Device& device) const;

 private:
  std::vector<std::byte> image_;  // header and products alone, once its bytes are taken
  bool taken_ = false;
};

class PyCudaClips {
 public:
  PyCudaClips(nanobind::handle weights, nanobind::dict networks, const std::string& precision,
              nanobind::handle processing);

  nanobind::object take_bytes();
  cuda::ClipPlan plan_window(std::int64_t batch, const cuda::Device& device) const;
  cuda::ClipPlan plan_sequence(std::int64_t batch, std::int64_t frames,
                               const cuda::Device& device) const;

 private:
  cuda::ClipWeights weights_;
};

void bind_cuda(nanobind::module_& module);

}  // namespace vp3d::python
