#include "wide_plan.hpp"

#include <algorithm>
#include <stdexcept>

namespace vp3d::cuda {
namespace {

const Product* products_of(const std::vector<std::byte>& image) {
  return reinterpret_cast<const Product*>(image.data() + header_of(image).product_table);
}

ClipLaunch launch_of(const std::vector<std::byte>& image, const std::vector<int>& numbers,
                     std::int64_t rows, bool first, const Device& device) {
  std::vector<Extent> extents;
  for (const int number : numbers) {
    const Product& product = products_of(image)[number];
    extents.push_back({product.columns * rows, product.rows,
                       std::int64_t{product.taps} * product.tap_steps});
  }
  const SplitKernel choice =
      choose_split_kernel(products_of(image)[numbers[0]].type, extents, device);
  const ClipKernel& kernel = *choice.kernel;
  WideArguments arguments{};
  arguments.stages = stages_of(kernel, device);
  arguments.splits = choice.splits;
  arguments.keeps_inputs = first ? 1 : 0;
  ClipLaunch launch;
  launch.kernel = std::string("vp3d_stream_") + kernel.name;
  launch.threads = kernel.threads;
  launch.shared_bytes = shared_bytes_of(kernel, arguments.stages);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::int64_t blocks = blocks_of(kernel, extents[i]) * choice.splits;
    arguments.products[i] = numbers[i];
    arguments.blocks[i] = static_cast<std::int32_t>(blocks);
    arguments.row_tiles[i] = static_cast<std::int32_t>(row_tiles_of(kernel, extents[i]));
    launch.blocks += blocks;
  }
  check_blocks(launch.blocks);
  if (choice.splits > 1)
    launch.workspace_bytes =
        kSplitCountBytes + launch.blocks * split_bytes(kernel.columns, kernel.rows);
  launch.arguments.resize(sizeof arguments);
  std::memcpy(launch.arguments.data(), &arguments, sizeof arguments);
  return launch;
}

// Before the first phase, or behind the last.
ClipLaunch frame_launch(const char* kernel, std::int64_t numbers) {
  ClipLaunch launch;
  launch.kernel = kernel;
  launch.threads = kFrameThreads;
  launch.blocks = ceil_div(numbers, kFrameThreads);
  launch.arguments.resize(sizeof(Arguments));
  return launch;
}

}  // namespace

std::int64_t columns_of(const std::vector<std::byte>& image, std::int64_t rows) {
  std::int32_t most = 0;
  for (int i = 0; i < header_of(image).products; ++i)
    most = std::max(most, products_of(image)[i].columns);
  return most * rows;
}

std::vector<ClipLaunch> plan_wide_step(const std::vector<std::byte>& image, std::int64_t rows,
                                       const Device& device) {
  check_device(device);
  constexpr std::int64_t kMostRows = 1 << 16;  // numbers of threads and columns are 32 bits
  if (rows < 1 || rows > kMostRows)
    throw std::invalid_argument("a step has 1 to " + std::to_string(kMostRows) + " rows, not " +
                                std::to_string(rows));
  const Image& header = header_of(image);
  const int networks = header.products / header.phases;
  const ProcessingTables& processing = header.processing;
  std::vector<ClipLaunch> launches;
  if (processing.joints_seen > 0)
    launches.push_back(frame_launch("vp3d_stream_prepare",
                                    rows * processing.joints_in * processing.features));
  for (int phase = 0; phase < header.phases; ++phase) {
    std::vector<int> left;
    for (int i = 0; i < networks; ++i) left.push_back(phase * networks + i);
    while (!left.empty()) {
      // Products of one type share a launch, as many as it takes.
      std::vector<int> together, later;
      for (const int number : left) {
        const bool same = products_of(image)[number].type == products_of(image)[left[0]].type;
        (same && together.size() < kClipProducts ? together : later).push_back(number);
      }
      const bool first = phase == 0 && together[0] == 0;
      launches.push_back(launch_of(image, together, rows, first, device));
      left = later;
    }
  }
  if (processing.add_trajectory != 0)
    launches.push_back(frame_launch("vp3d_stream_finish", rows * header.answer_floats));
  return launches;
}

}  // namespace vp3d::cuda
