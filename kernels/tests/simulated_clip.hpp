// Blocks of the kernels for windows and sequences on the host. Each warp is a fiber of its own
// (simulated_blocks.hpp), so that one without a barrier is sometimes ahead of the others; lanes are
// loops that begin anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "clip_plan.hpp"
#include "hidden_memory.hpp"
#include "simulated_warp.hpp"
#include "wide_plan.hpp"

namespace vp3d::test {

struct ClipOptions {
  std::uint32_t seed = 1;
  bool at_once = kThreadSanitizer;
  int first_block = -1;  // blocks in their order from this one on, or in one drawn by chance
  std::vector<Region> written_before;  // by launches that may still run when this one begins
  ClipFaults faults;
};

// One launch of a window or a sequence. (These are in simulated_kernels.cpp.)
void run_clip_launch(const cuda::ClipLaunch& launch, const std::byte* image,
                     const std::byte* input, std::byte* workspace, float* answers,
                     const ClipOptions& options);

// One launch of a step of many streams.
void run_wide_launch(const cuda::ClipLaunch& launch, const cuda::Arguments& addresses,
                     const ClipOptions& options);

}  // namespace vp3d::test
