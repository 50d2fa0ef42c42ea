// Steps of many streams: one launch for each phase, whose blocks share the columns of all streams in
// tiles. The image, its places and frames are those of the cooperative step (image.hpp), and a stream
// may take any step either way.
#pragma once

#include "image.hpp"
#include "kernel_choice.hpp"
#include "stream_wide.hpp"

namespace vp3d::cuda {

// From so many columns on (streams times the columns of each, at most 3) these launches are to be
// preferred: the blocks of the cooperative step, 8 rows each, all read all columns. Computed for
// layers of 1024 channels from what both read, from the prices of kernel_choice.cpp, and from 1.3 us
// between two launches against 1 us for a barrier: in 8 bits both take as long then, and in half
// precision these launches less. Not yet measured.
constexpr std::int64_t kWideColumns = 80;

// The most columns of a phase.
std::int64_t columns_of(const std::vector<std::byte>& image, std::int64_t rows);

// The launches of one step of `rows` streams, in order, to be run as clip_plan.hpp says of plans; but
// there are five addresses: image, places, frame, answers, and a workspace. This last has the most
// bytes of those that launches say they need, and may be null where none does; its first
// kSplitCountBytes are zeros before its first step, and steps that use it follow one another.
// Launches do not change from step to step as long as the addresses stay. Throws
// std::invalid_argument for fewer rows than one, for too many, and for impossible devices.
std::vector<ClipLaunch> plan_wide_step(const std::vector<std::byte>& image, std::int64_t rows,
                                       const Device& device);

}  // namespace vp3d::cuda
