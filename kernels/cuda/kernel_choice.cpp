#include "kernel_choice.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "stream_split.hpp"

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

// Bytes are multiplied twice as fast; a float32 is three products of tf32, at half the rate.
double multiplications(Number type) {
  return kMultiplications * (type == Number::i8 ? 2.0 : type == Number::f16 ? 1.0 : 1.0 / 6);
}

// A split has so many steps at least, or its pipeline hardly begins. All splits of a product are to
// be on the device at about the same time, so that the second-level cache still holds what they leave.
constexpr std::int64_t kLeastSteps = 4;
constexpr std::int64_t kBlocksAtOnce = 2;  // on a multiprocessor
// Cycles from the last sum to its being counted, and from there to the first of the others' sums.
constexpr double kExchange = 2000;

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

std::int64_t blocks_of(const ClipKernel& kernel, const std::vector<Extent>& products) {
  std::int64_t blocks = 0;
  for (const Extent& product : products) blocks += blocks_of(kernel, product);
  return blocks;
}

// Cycles of the multiprocessor that has most blocks, or of the cache.
double product_cycles(const ClipKernel& kernel, const std::vector<Extent>& products, int splits,
                      const Device& device) {
  double most = 0, reading = 0;
  for (const Extent& product : products) {
    const auto bytes = static_cast<double>(product.steps * kStepBytes);
    most = std::max(most, bytes);
    reading += static_cast<double>(blocks_of(kernel, product)) * (kernel.columns + kernel.rows) *
               bytes / (kCacheBytes * device.multiprocessors);
  }
  const double multiplying =
      static_cast<double>(ceil_div(blocks_of(kernel, products) * splits, device.multiprocessors)) *
      kernel.columns * kernel.rows * price(kernel.shape) / multiplications(kernel.type) * most /
      static_cast<double>(size_of(kernel.type)) / splits;
  return std::max(multiplying, reading);
}

// Cycles that splits cost: all blocks leave their sums, and then the last of each tile reads those of
// the others (stream_split.hpp), when the others have left it more of the cache.
double exchange_cycles(const ClipKernel& kernel, const std::vector<Extent>& products, int splits,
                       const Device& device) {
  if (splits == 1) return 0;
  const std::int64_t tiles = blocks_of(kernel, products);
  const auto left = static_cast<double>(ceil_div(tiles * splits, device.multiprocessors)),
             read = static_cast<double>(ceil_div(tiles, device.multiprocessors) *
                                        (splits == 2 ? 1 : splits));
  return (left + read / 2) * kernel.columns * kernel.rows * 4 / kCacheBytes + kExchange;
}

// Into how many splits products may be cut at most.
std::int64_t most_splits(const ClipKernel& kernel, const std::vector<Extent>& products,
                         const Device& device) {
  std::int64_t steps = std::numeric_limits<std::int64_t>::max();
  for (const Extent& product : products) steps = std::min(steps, product.steps);
  const std::int64_t blocks = blocks_of(kernel, products);
  std::int64_t most = std::min<std::int64_t>(kMostSplits, kMostSplitBlocks / blocks);
  if (device.splits)
    most = std::min({most, static_cast<std::int64_t>(*device.splits), steps});
  else
    most = std::min({most, kBlocksAtOnce * device.multiprocessors / blocks, steps / kLeastSteps});
  return std::max<std::int64_t>(most, 1);
}

// Kernels with tiles that may be taken, of which there is one of float32.
std::vector<const ClipKernel*> tile_kernels(Number type, const Device& device) {
  std::vector<const ClipKernel*> kernels;
  for (const ClipKernel& kernel : kClipKernels) {
    if (kernel.type != type || kernel.shape == ClipShape::narrow) continue;
    if (device.shape == kernel.shape) return {&kernel};
    if (kernel.shape != ClipShape::group || device.warpgroups) kernels.push_back(&kernel);
  }
  return kernels;
}

const ClipKernel& narrow_kernel(Number type) {
  for (const ClipKernel& kernel : kClipKernels)
    if (kernel.type == type && kernel.shape == ClipShape::narrow) return kernel;
  throw std::logic_error("each type has a narrow kernel");
}

}  // namespace

void check_device(const Device& device) {
  if (device.multiprocessors < 1 || device.shared_bytes < (48 << 10))
    throw std::invalid_argument(
        "a device has at least one multiprocessor and 48 KB of shared memory, not " +
        std::to_string(device.multiprocessors) + " and " + std::to_string(device.shared_bytes) +
        " bytes");
}

const ClipKernel& choose_kernel(Number type, const std::vector<Extent>& products,
                                const Device& device) {
  const bool few = products[0].columns <= kNarrowest;
  if (device.shape ? device.shape == ClipShape::narrow : few) return narrow_kernel(type);
  Device whole = device;
  whole.splits = 1;
  return *choose_split_kernel(type, products, whole).kernel;
}

SplitKernel choose_split_kernel(Number type, const std::vector<Extent>& products,
                                const Device& device) {
  SplitKernel best{nullptr, 1};
  double least = std::numeric_limits<double>::infinity();
  for (const ClipKernel* kernel : tile_kernels(type, device)) {
    const auto most = static_cast<int>(most_splits(*kernel, products, device));
    for (int splits = device.splits ? most : 1; splits <= most; ++splits) {
      const double cycles = product_cycles(*kernel, products, splits, device) +
                            exchange_cycles(*kernel, products, splits, device);
      if (cycles < least) best = {kernel, splits};
      least = std::min(least, cycles);
    }
  }
  return best;
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
