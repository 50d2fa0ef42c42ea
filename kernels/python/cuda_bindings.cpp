#include "cuda_bindings.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <utility>

#include "frame.hpp"
#include "network_arguments.hpp"
#include "stream_step.hpp"
#include "wide_plan.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace vp3d::python {
namespace {

constexpr const char* kTaken = "the bytes were taken before, and only once can be";

std::int64_t checked_rows(std::int64_t rows) {
  constexpr std::int64_t kMostRows = 1 << 16;  // numbers of threads and columns are 32 bits
  if (rows < 0 || rows > kMostRows)
    throw std::invalid_argument("a step has 0 to " + std::to_string(kMostRows) + " rows, not " +
                                std::to_string(rows));
  return rows;
}

// shape: as kernels are called behind vp3d_clip_ and before their type, or none. splits: 0 for what is
// done first.
cuda::Device device_of(int multiprocessors, std::int64_t shared_bytes, bool warpgroups,
                       const std::string& shape, int splits) {
  if (splits < 0 || splits > cuda::kMostSplits)
    throw std::invalid_argument("products are in 0 to " + std::to_string(cuda::kMostSplits) +
                                " splits, not " + std::to_string(splits));
  cuda::Device device;
  device.multiprocessors = multiprocessors;
  device.shared_bytes = shared_bytes;
  device.warpgroups = warpgroups;
  if (splits > 0) device.splits = splits;
  for (const cuda::ClipKernel& kernel : cuda::kClipKernels)
    if (std::string(kernel.name).rfind(shape + "_", 0) == 0) device.shape = kernel.shape;
  if (!shape.empty() && !device.shape)
    throw std::invalid_argument("there are no kernels of shape " + shape);
  return device;
}

// (n, 2) uint32.
Array rows_from(nb::handle rows, Array::Access access) {
  Array array(rows, "rows", access, Array::Type::uint32);
  if (!array.fits({-1, 2}))
    throw nb::value_error(
        ("rows have shape " + text_of(array.shape()) + "; expected (*, 2): frames and place")
            .c_str());
  return array;
}

// One View for each of n, as float32.
Array views_from(nb::handle views, std::int64_t n) {
  constexpr std::int64_t kNumbers = sizeof(cuda::View) / sizeof(float);
  Array array(views, "views", Array::Access::read);
  if (!array.fits({n, kNumbers}))
    throw nb::value_error(("views have shape " + text_of(array.shape()) + "; expected " +
                           text_of({n, kNumbers}))
                              .c_str());
  return array;
}

std::vector<std::byte> image_of(nb::handle weights, nb::dict networks,
                                const std::string& precision, std::int64_t lag,
                                const cuda::Grid& grid, nb::handle around) {
  const std::string path = path_from(weights);
  const std::vector<Network> list = networks_from(networks);
  const Precision chosen = precision_called(precision);
  const cuda::Processing processing = processing_from(around);
  const nb::gil_scoped_release released;
  return cuda::build_image(cpu::SafetensorsFile(path), list, chosen, lag, grid, processing);
}

cuda::ClipWeights clips_of(nb::handle weights, nb::dict networks, const std::string& precision,
                           nb::handle around) {
  const std::string path = path_from(weights);
  const std::vector<Network> list = networks_from(networks);
  const Precision chosen = precision_called(precision);
  const cuda::Processing processing = processing_from(around);
  const nb::gil_scoped_release released;
  return cuda::ClipWeights(cpu::SafetensorsFile(path), list, chosen, processing);
}

}  // namespace

nb::object as_numpy(std::vector<std::byte> bytes) {
  auto held = std::make_unique<std::vector<std::byte>>(std::move(bytes));
  void* data = held->data();
  const std::size_t shape[1] = {held->size()};
  const nb::capsule owner(held.get(), [](void* vector) noexcept {
    delete static_cast<std::vector<std::byte>*>(vector);
  });
  held.release();
  return nb::cast(nb::ndarray<nb::numpy, const std::uint8_t>(data, 1, shape, owner));
}

PyCudaImage::PyCudaImage(nb::handle weights, nb::dict networks, const std::string& precision,
                         std::int64_t lag, int blocks, std::int64_t shared_bytes,
                         int tensor_columns, std::int64_t cache_bytes, nb::handle processing)
    : image_(image_of(weights, networks, precision, lag,
                      {blocks, shared_bytes, tensor_columns, cache_bytes}, processing)) {}

nb::object PyCudaImage::take_bytes() {
  if (std::exchange(taken_, true)) throw std::runtime_error(kTaken);
  const auto head = header().product_table +
                    header().products * static_cast<std::int64_t>(sizeof(cuda::Product));
  std::vector<std::byte> kept(image_.begin(), image_.begin() + head);
  return as_numpy(std::exchange(image_, std::move(kept)));
}

std::int64_t PyCudaImage::columns(std::int64_t rows) const {
  return cuda::columns_of(image_, checked_rows(rows));
}

std::int64_t PyCudaImage::frame_bytes(std::int64_t rows) const {
  return cuda::frame_bytes(header(), checked_rows(rows));
}

std::int64_t PyCudaImage::write_frame(nb::handle into, nb::handle rows, nb::handle keypoints,
                                      nb::handle views) const {
  const Array row_array = rows_from(rows, Array::Access::read);
  const std::int64_t n = checked_rows(row_array.axis(0));
  const Array input(keypoints, "keypoints", Array::Access::read);
  const std::int64_t features = header().processing.features;
  const Shape expected{n, cuda::frame_numbers(header()) / features, features};
  if (!input.fits(expected))
    throw nb::value_error(("keypoints have shape " + text_of(input.shape()) + "; " +
                           std::to_string(n) + " open streams expect " + text_of(expected))
                              .c_str());
  const Array frame(into, "frames", Array::Access::write, Array::Type::uint8);
  const std::int64_t bytes = cuda::frame_bytes(header(), n);
  if (!frame.fits({-1}) || frame.axis(0) < bytes)
    throw nb::value_error(("a frame of " + std::to_string(n) + " streams takes (" +
                           std::to_string(bytes) + ",) bytes; there is room for " +
                           text_of(frame.shape()))
                              .c_str());
  const auto write = [&](const cuda::View* from) {
    cuda::write_frame(header(), row_array.as<const cuda::Row>(), n, input.data(), from,
                      frame.as<std::byte>());
    return bytes;
  };
  if (header().frame_view_bytes == 0) return write(nullptr);
  const Array view_array = views_from(views, n);
  return write(view_array.as<const cuda::View>());
}

void PyCudaImage::advance(nb::handle rows) const {
  const Array array = rows_from(rows, Array::Access::write);
  auto* row = array.as<cuda::Row>();
  for (std::int64_t i = 0; i < array.axis(0); ++i)
    row[i].frames = cuda::next_frame(row[i].frames, header().frame_cycle);
}

std::vector<cuda::ClipLaunch> PyCudaImage::wide_launches(std::int64_t rows,
                                                         const cuda::Device& device) const {
  return cuda::plan_wide_step(image_, rows, device);
}

PyCudaClips::PyCudaClips(nb::handle weights, nb::dict networks, const std::string& precision,
                         nb::handle processing)
    : weights_(clips_of(weights, networks, precision, processing)) {}

nb::object PyCudaClips::take_bytes() {
  if (weights_.image().empty()) throw std::runtime_error(kTaken);
  return as_numpy(weights_.take_image());
}

cuda::ClipPlan PyCudaClips::plan_window(std::int64_t batch, const cuda::Device& device) const {
  return cuda::plan_window(weights_, batch, device);
}

cuda::ClipPlan PyCudaClips::plan_sequence(std::int64_t batch, std::int64_t frames,
                                          const cuda::Device& device) const {
  return cuda::plan_sequence(weights_, batch, frames, device);
}

namespace {

void bind_plans(nb::module_& module) {
  using cuda::ClipLaunch, cuda::ClipPlan;
  nb::class_<cuda::Device>(module, "CudaDevice")
      .def("__init__", [](cuda::Device* device, int multiprocessors, std::int64_t shared_bytes,
                          bool warpgroups, const std::string& shape, int splits) {
        new (device) cuda::Device(
            device_of(multiprocessors, shared_bytes, warpgroups, shape, splits));
      }, "multiprocessors"_a, "shared_bytes"_a, nb::kw_only(), "warpgroups"_a = false,
           "shape"_a = "", "splits"_a = 0);
  nb::class_<ClipLaunch>(module, "CudaLaunch")
      .def_ro("kernel", &ClipLaunch::kernel)
      .def_ro("blocks", &ClipLaunch::blocks)
      .def_ro("threads", &ClipLaunch::threads)
      .def_ro("shared_bytes", &ClipLaunch::shared_bytes)
      .def_ro("workspace_bytes", &ClipLaunch::workspace_bytes)
      .def_prop_ro("arguments", [](const ClipLaunch& launch) {
        return nb::bytes(launch.arguments.data(), launch.arguments.size());
      });
  nb::class_<ClipPlan>(module, "CudaPlan")
      .def_ro("answer_frames", &ClipPlan::answer_frames)
      .def_ro("input_bytes", &ClipPlan::input_bytes)
      .def_ro("workspace_bytes", &ClipPlan::workspace_bytes)
      .def_ro("answer_bytes", &ClipPlan::answer_bytes)
      .def_ro("answers", &ClipPlan::answers)
      .def_ro("launches", &ClipPlan::launches);
}

void bind_image(nb::module_& module) {
  const auto of_header = [](auto field) {
    return [field](const PyCudaImage& image) { return image.header().*field; };
  };
  nb::class_<PyCudaImage> image(module, "CudaImage");
  image
      .def(nb::init<nb::handle, nb::dict, const std::string&, std::int64_t, int, std::int64_t,
                    int, std::int64_t, nb::handle>(),
           "weights"_a, "networks"_a, "precision"_a, "lag"_a, nb::kw_only(), "blocks"_a,
           "shared_bytes"_a = 0, "tensor_columns"_a = 0, "cache_bytes"_a = 0,
           "processing"_a = nb::none())
      .def_prop_ro("blocks", of_header(&cuda::Image::blocks))
      .def_prop_ro("phases", of_header(&cuda::Image::phases))
      .def_prop_ro("staged_bytes", of_header(&cuda::Image::staged_bytes))
      .def_prop_ro("place_bytes", of_header(&cuda::Image::place_bytes))
      .def_prop_ro("answer_floats", of_header(&cuda::Image::answer_floats))
      .def("take_bytes", &PyCudaImage::take_bytes)
      .def("columns", &PyCudaImage::columns, "n_rows"_a)
      .def("frame_bytes", &PyCudaImage::frame_bytes, "n_rows"_a)
      .def("write_frame", &PyCudaImage::write_frame, "into"_a, "rows"_a, "keypoints"_a,
           "views"_a = nb::none())
      .def("advance", &PyCudaImage::advance, "rows"_a)
      .def("wide_launches", &PyCudaImage::wide_launches, "n_rows"_a, "device"_a);
  image.attr("FIXED_BYTES") = cuda::kFixedBytes;
  image.attr("MOST_WARPS") = cuda::kMostWarps;
  image.attr("NEAR_FRAME_BYTES") = cuda::kNearFrameBytes;
  image.attr("WIDE_COLUMNS") = cuda::kWideColumns;
  image.attr("ARGUMENT_BYTES") = sizeof(cuda::Arguments);
  image.attr("SPLIT_COUNT_BYTES") = cuda::kSplitCountBytes;
}

}  // namespace

void bind_cuda(nb::module_& module) {
  bind_plans(module);
  bind_image(module);
  nb::class_<PyCudaClips>(module, "CudaClips")
      .def(nb::init<nb::handle, nb::dict, const std::string&, nb::handle>(), "weights"_a,
           "networks"_a, "precision"_a, nb::kw_only(), "processing"_a = nb::none())
      .def("take_bytes", &PyCudaClips::take_bytes)
      .def("plan_window", &PyCudaClips::plan_window, "batch"_a, "device"_a)
      .def("plan_sequence", &PyCudaClips::plan_sequence, "batch"_a, "frames"_a,
           "device"_a);
}

}  // namespace vp3d::python
