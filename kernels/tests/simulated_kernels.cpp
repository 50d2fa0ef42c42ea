// Every kernel's body for the simulated grid, compiled once for all that launch some: by far the most
// of what there is to compile in these tests.
#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "simulated_clip.hpp"
#include "simulated_grid.hpp"

namespace vp3d::test {
namespace {

// A block of `threads`, each warp running `body`.
void run_clip_block(const cuda::ClipLaunch& launch, const ClipOptions& options,
                    LaunchExchange& of_launch,
                    const std::function<void(HostClipWarp&)>& body) {
  SharedMemory shared(launch.shared_bytes);
  BlockExchange exchange(of_launch, options.faults.exchange);
  TurnTaking turn_taking(options.seed);
  AllAtOnce all_at_once;
  Blocks& block = options.at_once ? static_cast<Blocks&>(all_at_once) : turn_taking;
  block.run(launch.threads / kLanes, [&](int index) {
    std::mt19937 random(options.seed + static_cast<std::uint32_t>(index));
    HostClipWarp warp(index, random, shared, exchange, block, options.faults);
    body(warp);
  });
}

// Bodies by name: of windows and sequences, and of steps of many streams.
struct ClipBody {
  const char* name;
  void (*clip)(HostClipWarp&, const cuda::ClipArguments&, int block);
  void (*step)(HostClipWarp&, const cuda::WideArguments&, int block, int blocks);
};

const ClipBody& clip_body(const std::string& name) {
  using Warp = HostClipWarp;
  static constexpr ClipBody bodies[] = {
      {"group_f16", cuda::run_clip_group<cuda::GroupF16, Warp>,
       cuda::run_wide_group<cuda::GroupF16, Warp>},
      {"group_i8", cuda::run_clip_group<cuda::GroupI8, Warp>,
       cuda::run_wide_group<cuda::GroupI8, Warp>},
      {"huge_f16", cuda::run_clip_tile<cuda::HugeF16, Warp>,
       cuda::run_wide_phase<cuda::HugeF16, Warp>},
      {"huge_i8", cuda::run_clip_tile<cuda::HugeI8, Warp>,
       cuda::run_wide_phase<cuda::HugeI8, Warp>},
      {"wide_f16", cuda::run_clip_tile<cuda::WideF16, Warp>,
       cuda::run_wide_phase<cuda::WideF16, Warp>},
      {"wide_i8", cuda::run_clip_tile<cuda::WideI8, Warp>,
       cuda::run_wide_phase<cuda::WideI8, Warp>},
      {"tall_f16", cuda::run_clip_tile<cuda::TallF16, Warp>,
       cuda::run_wide_phase<cuda::TallF16, Warp>},
      {"tall_i8", cuda::run_clip_tile<cuda::TallI8, Warp>,
       cuda::run_wide_phase<cuda::TallI8, Warp>},
      {"tile_f32", cuda::run_clip_tile<cuda::TileF32, Warp>,
       cuda::run_wide_phase<cuda::TileF32, Warp>},
      {"tile_f16", cuda::run_clip_tile<cuda::TileF16, Warp>,
       cuda::run_wide_phase<cuda::TileF16, Warp>},
      {"tile_i8", cuda::run_clip_tile<cuda::TileI8, Warp>,
       cuda::run_wide_phase<cuda::TileI8, Warp>},
      {"narrow_f32", cuda::run_clip_narrow<Number::f32, Warp>, nullptr},
      {"narrow_f16", cuda::run_clip_narrow<Number::f16, Warp>, nullptr},
      {"narrow_i8", cuda::run_clip_narrow<Number::i8, Warp>, nullptr},
  };
  for (const ClipBody& body : bodies)
    if (name == body.name) return body;
  throw std::logic_error("there is no kernel " + name);
}

// What the runtime passes: the plan's bytes with the four addresses.
template <class Arguments>
Arguments addressed(const cuda::ClipLaunch& launch, const std::byte* image,
                    const std::byte* input, std::byte* workspace, float* answers) {
  Arguments arguments;
  if (launch.arguments.size() != sizeof arguments)
    throw std::logic_error("arguments of another kernel");
  std::memcpy(&arguments, launch.arguments.data(), sizeof arguments);
  const void* addresses[4] = {image, input, workspace, answers};
  std::memcpy(&arguments, addresses, sizeof addresses);
  return arguments;
}

void launch_frames(const cuda::ClipLaunch& launch, const cuda::ClipFrames& frames) {
  const bool prepares = launch.kernel == "vp3d_clip_prepare";
  const std::int64_t numbers =
      prepares ? cuda::prepared_numbers(frames) : cuda::finished_numbers(frames);
  if (launch.blocks * launch.threads < numbers) throw std::logic_error("too few threads");
  for (std::int64_t i = numbers - 1; i >= 0; --i)
    prepares ? cuda::prepare_number(frames, i) : cuda::finish_number(frames, i);
}

// `each` block.
template <class Each>
void run_blocks(const cuda::ClipLaunch& launch, const ClipOptions& options, const Each& each) {
  std::vector<int> order(static_cast<std::size_t>(launch.blocks));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(options.seed);
  if (options.first_block < 0)
    std::shuffle(order.begin(), order.end(), random);
  else
    std::rotate(order.begin(), order.begin() + options.first_block % launch.blocks, order.end());
  LaunchExchange exchange;
  for (const int index : order)
    run_clip_block(launch, options, exchange, [&](HostClipWarp& warp) { each(warp, index); });
}

// Between launches of split products all counts are zero. What they leave besides is nobody's.
void check_counts(const std::byte* workspace) {
  for (std::int64_t at = 0; at < cuda::kSplitCountBytes; at += 4) {
    std::uint32_t count;
    std::memcpy(&count, workspace + at, sizeof count);
    if (count != 0)
      throw std::logic_error("count " + std::to_string(at / 4) + " of splits is " +
                             std::to_string(count) + " and not zero");
  }
}

}  // namespace

void launch_step(const cuda::Arguments& arguments, const GridOptions& options) {
  const cuda::Image& image = cuda::Launch(arguments).header();
  TurnTaking turn_taking(options.seed);
  AllAtOnce all_at_once;
  Blocks& grid = options.at_once ? static_cast<Blocks&>(all_at_once) : turn_taking;
  grid.run(image.blocks, [&](int index) {
    HostBlock block(index, image.blocks, image.staged_bytes, options, &grid);
    cuda::run_step(block, arguments);
  });
}

void launch_phase(const cuda::Arguments& arguments, int phase, const GridOptions& options,
                  const std::vector<int>& order) {
  const cuda::Launch launch(arguments);
  for (const int index : order) {
    HostBlock block(index, launch.header().blocks, 0, options, nullptr);
    cuda::run_phase(block, launch, phase);
  }
}

void launch_phases(const cuda::Arguments& arguments, const GridOptions& options) {
  const cuda::Launch launch(arguments);
  const cuda::Image& image = launch.header();
  if (image.processing.joints_seen > 0)
    for (int i = cuda::prepared_numbers(launch) - 1; i >= 0; --i)
      cuda::prepare_number(launch, i, nullptr);
  std::vector<int> order(static_cast<std::size_t>(image.blocks));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(options.seed);
  for (int phase = 0; phase < image.phases; ++phase) {
    std::shuffle(order.begin(), order.end(), random);
    launch_phase(arguments, phase, options, order);
  }
  if (image.processing.add_trajectory != 0)
    for (int i = cuda::finished_numbers(launch) - 1; i >= 0; --i) cuda::finish_number(launch, i);
}

void run_clip_launch(const cuda::ClipLaunch& launch, const std::byte* image,
                     const std::byte* input, std::byte* workspace, float* answers,
                     const ClipOptions& options) {
  const std::string name = launch.kernel.substr(std::string("vp3d_clip_").size());
  if (name == "prepare" || name == "finish")
    return launch_frames(
        launch, addressed<cuda::ClipFrames>(launch, image, input, workspace, answers));
  const auto arguments =
      addressed<cuda::ClipArguments>(launch, image, input, workspace, answers);
  const ClipBody& body = clip_body(name);
  run_blocks(launch, options,
             [&](HostClipWarp& warp, int block) { body.clip(warp, arguments, block); });
}

void run_wide_launch(const cuda::ClipLaunch& launch, const cuda::Arguments& addresses,
                     const ClipOptions& options) {
  if (launch.kernel == "vp3d_stream_prepare" || launch.kernel == "vp3d_stream_finish") {
    const cuda::Launch stream(addresses);
    const bool prepares = launch.kernel == "vp3d_stream_prepare";
    const int numbers = prepares ? prepared_numbers(stream) : finished_numbers(stream);
    if (launch.blocks * launch.threads < numbers) throw std::logic_error("too few threads");
    for (int i = numbers - 1; i >= 0; --i)
      prepares ? prepare_number(stream, i, nullptr) : finish_number(stream, i);
    return;
  }
  cuda::WideArguments arguments;
  if (launch.arguments.size() != sizeof arguments)
    throw std::logic_error("arguments of another kernel");
  std::memcpy(&arguments, launch.arguments.data(), sizeof arguments);
  static_cast<cuda::Arguments&>(arguments) = addresses;
  const ClipBody& body = clip_body(launch.kernel.substr(std::string("vp3d_stream_").size()));
  const auto run = [&] {
    HiddenMemory hidden(options.written_before);
    run_blocks(launch, options, [&](HostClipWarp& warp, int block) {
      hidden.hide(block);
      warp.hide_until_awaited([&] { hidden.reveal(); });
      body.step(warp, arguments, block, static_cast<int>(launch.blocks));
      warp.check_order();
    });
  };
  if (arguments.splits == 1) return run();
  check_counts(addresses.workspace);
  std::memset(addresses.workspace + cuda::kSplitCountBytes, 0xFF,
              static_cast<std::size_t>(launch.workspace_bytes - cuda::kSplitCountBytes));
  run();
  check_counts(addresses.workspace);
}

}  // namespace vp3d::test
