// Which kernel a launch takes, how many blocks, and how much shared memory. On the host.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clip_kernels.hpp"

namespace vp3d::cuda {

// What launches are made for.
struct Device {
  int multiprocessors = 1;
  std::int64_t shared_bytes = 48 << 10;  // the most that a block may have, opt-in included
  std::optional<ClipShape> shape;        // the only one to use, for tests and for tuning
  bool warpgroups = false;               // sm_90a: group kernels may be taken too
  std::optional<int> splits = std::nullopt;  // of products along their inputs, at most; as shape
};

// One launch of a plan; what a runtime does with it is said in clip_plan.hpp.
struct ClipLaunch {
  std::string kernel;
  std::int64_t blocks = 0;
  int threads = 0;
  std::int64_t shared_bytes = 0;
  std::vector<std::byte> arguments;
  std::int64_t workspace_bytes = 0;  // of a step's split products; of clips the plan says it
};

// A matrix product of a launch: so many steps along the inputs (layout.hpp).
struct Extent {
  std::int64_t columns, rows, steps;
};

// Throws std::invalid_argument for a device without multiprocessors or shared memory.
void check_device(const Device& device);

// The kernel that is done first with these products. Fewer columns than some go to narrow kernels;
// others to tiles that fill the device evenly.
const ClipKernel& choose_kernel(Number type, const std::vector<Extent>& products,
                                const Device& device);

// The same of kernels with tiles, whose products may be split along their inputs (stream_split.hpp).
struct SplitKernel {
  const ClipKernel* kernel;
  int splits;
};
SplitKernel choose_split_kernel(Number type, const std::vector<Extent>& products,
                                const Device& device);

std::int64_t row_tiles_of(const ClipKernel& kernel, const Extent& product);
std::int64_t blocks_of(const ClipKernel& kernel, const Extent& product);

// Of the pipeline in shared memory.
std::int32_t stages_of(const ClipKernel& kernel, const Device& device);
std::int64_t shared_bytes_of(const ClipKernel& kernel, std::int32_t stages);

// Throws std::invalid_argument for more blocks than a grid has.
void check_blocks(std::int64_t blocks);

}  // namespace vp3d::cuda
