#include "kernel_choice.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace vp3d::cuda {
namespace {

// Fewer columns than this go to the narrow kernels. Computed from what each reads of the second-level
// cache, not yet measured.
constexpr std::int64_t kNarrowest = 64;

// What a multiprocessor does in a clock cycle: multiplications of f16 by mma.sync, and bytes that the
// second-level cache gives to each when all ask. Of Hopper, from published measurements; what counts
// is that on all devices small tiles are held up by the cache, and large ones by the tensor cores.
constexpr double kMultiplications = 1270;
constexpr double kCacheBytes = 28;

// What slows a shape down besides, reading of shared memory, or nothing to do while a block stores;
// and what warpgroups gain over mma.sync.
double price(ClipShape shape) {
  switch (shape) {
    case ClipShape::group: return 0.8;
    case ClipShape::huge: return 1.1;
    case ClipShape::tile: return 1.25;
    default: return 1.0;
  }
}

// Cycles for each number along the inputs: of the multiprocessor that has most blocks, or of the
// cache.
double time_of(const ClipKernel& kernel, const std::vector<Extent>& products,
               const Device& device) {
  std::int64_t blocks = 0;
  for (const Extent& product : products) blocks += blocks_of(kernel, product);
  const double multiplying = static_cast<double>(ceil_div(blocks, device.multiprocessors)) *
                             kernel.columns * kernel.rows * price(kernel.shape) /
                             kMultiplications;
  const double reading = static_cast<double>(blocks) * (kernel.columns + kernel.rows) * 2 /
                         (kCacheBytes * device.multiprocessors);
  return std::max(multiplying, reading);
}

}  // namespace

void check_device(const Device& device) {
  if (device.multiprocessors < 1 || device.shared_bytes < (48 << 10))
    throw std::invalid_argument(
        "a device has at least one multiprocessor and 48 KB of shared memory, not " +
        std::to_string(device.multiprocessors) + " and " + std::to_string(device.shared_bytes) +
        " bytes");
}

const ClipKernel& choose_kernel(Number type, const std::vector<Extent>& products, bool narrow,
                                const Device& device) {
  const bool few = products[0].columns <= kNarrowest;
  const ClipKernel* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const ClipKernel& kernel : kClipKernels) {
    if (kernel.type != type) continue;
    const bool is_narrow = kernel.shape == ClipShape::narrow;
    if (is_narrow && !narrow) continue;
    // There is one shape of tiles of float32.
    const bool only = type == Number::f32 ? is_narrow == (device.shape == ClipShape::narrow)
                                          : device.shape == kernel.shape;
    if (device.shape && only) return kernel;
    if (is_narrow && few) return kernel;
    if (is_narrow || (kernel.shape == ClipShape::group && !device.warpgroups)) continue;
    const double time = time_of(kernel, products, device);
    if (time < least) best = &kernel;
    least = std::min(least, time);
  }
  return *best;
}

std::int64_t row_tiles_of(const ClipKernel& kernel, const Extent& product) {
  return ceil_div(clip_padded(product.rows), kernel.rows);
}

std::int64_t blocks_of(const ClipKernel& kernel, const Extent& product) {
  return ceil_div(product.columns, kernel.columns) * row_tiles_of(kernel, product);
}

std::int32_t stages_of(const ClipKernel& kernel, const Device& device) {
  // At least two blocks are to be on a multiprocessor, where registers allow it.
  const bool group = kernel.shape == ClipShape::group;
  const std::int64_t blocks = group || kernel.shape == ClipShape::huge ? 1 : 2;
  const std::int64_t room = device.shared_bytes / blocks / kernel.stage_bytes;
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(room, group ? kLeastGroupStages : kLeastStages, kernel.most_stages));
}

std::int64_t shared_bytes_of(const ClipKernel& kernel, std::int32_t stages) {
  return static_cast<std::int64_t>(kernel.stage_bytes) *
         (kernel.shape == ClipShape::narrow ? 1 : stages);
}

void check_blocks(std::int64_t blocks) {
  if (blocks > std::numeric_limits<std::int32_t>::max())
    throw std::invalid_argument("a launch would have " + std::to_string(blocks) +
                                " blocks; split the batch or the clip");
}

}  // namespace vp3d::cuda
