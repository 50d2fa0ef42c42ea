// Launches of the CUDA kernels on the simulated grid, as a library for tests of the runtime
// (tests/tensorrt_contract/simulated_kernels.py compiles and loads it). A launch is given what the
// CUDA driver is given; what a device would answer with a fault, a hang or a wrong result is told in
// words.
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "frame.hpp"
#include "simulated_clip.hpp"

namespace {

using namespace vp3d::test;
namespace cuda = vp3d::cuda;

[[noreturn]] void refuse(const std::string& why) { throw std::logic_error(why); }

// The memory that kernels may touch.
struct Room {
  const std::uintptr_t* starts;
  const std::int64_t* sizes;
  int count;

  void need(const void* address, std::int64_t bytes, const std::string& what) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    for (int i = 0; i < count; ++i) {
      if (at < starts[i] || at >= starts[i] + static_cast<std::uintptr_t>(sizes[i])) continue;
      const auto left = static_cast<std::int64_t>(starts[i]) + sizes[i] -
                        static_cast<std::int64_t>(at);
      if (left >= bytes) return;
      refuse(what + " takes " + std::to_string(bytes) + " bytes, and there is room for " +
             std::to_string(left));
    }
    refuse(what + " is not in the device's memory");
  }
};

struct Call {
  std::string kernel;
  unsigned blocks, threads, shared_bytes;
  void* const* parameters;
  bool cooperative;
  unsigned seed;
  Room room;

  // Parameters are copied from where their addresses say, byte by byte, as the driver does.
  template <class T>
  T parameter(int index) const {
    T value;
    std::memcpy(&value, parameters[index], sizeof value);
    return value;
  }

  cuda::ClipLaunch launch(std::size_t bytes) const {
    cuda::ClipLaunch launch;
    launch.kernel = kernel;
    launch.blocks = blocks;
    launch.threads = static_cast<int>(threads);
    launch.shared_bytes = shared_bytes;
    const auto* from = static_cast<const std::byte*>(parameters[0]);
    launch.arguments.assign(from, from + bytes);
    return launch;
  }
};

void need_aligned(const void* address, std::uintptr_t unit, const char* what) {
  if (reinterpret_cast<std::uintptr_t>(address) % unit != 0)
    refuse(std::string(what) + " is not aligned to " + std::to_string(unit) + " bytes");
}

// What any launch of a stream is given: an image, and room for what its rows need.
const cuda::Image& check_stream(const Call& call, const cuda::Arguments& arguments) {
  call.room.need(arguments.image, sizeof(cuda::Image), "the image");
  need_aligned(arguments.image, 256, "the image");
  const cuda::Image& image = cuda::Launch(arguments).header();
  if (image.magic != cuda::kImageMagic) refuse("this is no image");
  call.room.need(arguments.image, image.bytes, "the image");
  call.room.need(arguments.frame, cuda::kStepBytes, "the frame");
  need_aligned(arguments.frame, cuda::kStepBytes, "the frame");
  const cuda::Launch launch(arguments);
  const int rows = launch.rows();
  if (rows < 1 || rows > (1 << 16)) refuse("this is no frame: it has " + std::to_string(rows) +
                                           " rows");
  call.room.need(arguments.frame, cuda::frame_bytes(image, rows), "the frame");
  call.room.need(arguments.answers, static_cast<std::int64_t>(rows) * image.answer_floats * 4,
                 "memory of the answers");
  need_aligned(arguments.places, 256, "memory of the places");
  for (int row = 0; row < rows; ++row)
    call.room.need(arguments.places,
                   (static_cast<std::int64_t>(launch.row(row).place) + 1) * image.place_bytes,
                   "memory of the places");
  return image;
}

void check_blocks(const Call& call, const cuda::Image& image) {
  if (call.blocks != static_cast<unsigned>(image.blocks))
    refuse("the grid has " + std::to_string(call.blocks) + " blocks, and the image is for " +
           std::to_string(image.blocks));
  if (call.threads % kLanes != 0 || call.threads > cuda::kMostWarps * kLanes)
    refuse("blocks have " + std::to_string(call.threads) + " threads");
}

void need_shared(const Call& call, std::int64_t bytes) {
  if (call.shared_bytes < bytes)
    refuse("blocks have " + std::to_string(call.shared_bytes) +
           " bytes of shared memory, and touch " + std::to_string(bytes));
}

GridOptions options_of(const Call& call) {
  GridOptions options;
  options.warps = static_cast<int>(call.threads) / kLanes;
  options.seed = call.seed;
  return options;
}

void run_step(const Call& call) {
  const auto arguments = call.parameter<cuda::Arguments>(0);
  auto* arrivals = call.parameter<unsigned long long*>(1);
  const cuda::Image& image = check_stream(call, arguments);
  check_blocks(call, image);
  need_shared(call, cuda::kFixedBytes + image.staged_bytes);
  if (!call.cooperative) refuse("blocks wait for others that may not be on the device");
  need_aligned(arrivals, sizeof *arrivals, "the count of arrivals");
  call.room.need(arrivals, sizeof *arrivals, "the count of arrivals");
  // A block waits until the count is the next multiple of the grid: it has to begin at one.
  if (*arrivals % call.blocks != 0 || *arrivals >> 63 != 0)
    refuse("the grid hangs: " + std::to_string(*arrivals) + " blocks have arrived before it begins");
  launch_step(arguments, options_of(call));
  const std::int64_t prepared = cuda::Launch(arguments).rows() * image.prepared_bytes;
  const bool prepares = image.processing.joints_seen > 0 && prepared > cuda::kNearInputBytes;
  const bool finishes = image.processing.add_trajectory != 0;
  *arrivals += call.blocks *
               static_cast<unsigned long long>(image.phases - 1 + prepares + finishes);
}

void run_phase(const Call& call) {
  const auto arguments = call.parameter<cuda::Arguments>(0);
  const auto phase = call.parameter<std::int32_t>(1);
  const cuda::Image& image = check_stream(call, arguments);
  check_blocks(call, image);
  need_shared(call, cuda::kFixedBytes);
  if (phase < 0 || phase >= image.phases)
    refuse("phase " + std::to_string(phase) + " is not one of " + std::to_string(image.phases));
  std::vector<int> order(call.blocks);
  std::iota(order.rbegin(), order.rend(), 0);
  launch_phase(arguments, phase, options_of(call), order);
}

// `name` is the kernel's behind vp3d_clip_ or vp3d_stream_.
void check_tiles(const Call& call, const std::string& name, std::int64_t blocks, int stages) {
  for (const cuda::ClipKernel& kernel : cuda::kClipKernels) {
    if (name != kernel.name) continue;
    if (call.threads != static_cast<unsigned>(kernel.threads))
      refuse("blocks have " + std::to_string(call.threads) + " threads, not " +
             std::to_string(kernel.threads));
    if (call.blocks != blocks)
      refuse("the grid has " + std::to_string(call.blocks) + " blocks, and the launch is for " +
             std::to_string(blocks));
    const bool narrow = kernel.shape == cuda::ClipShape::narrow;
    return need_shared(call, static_cast<std::int64_t>(kernel.stage_bytes) * (narrow ? 1 : stages));
  }
}

// How much of it a launch of split products touches.
std::int64_t check_workspace(const Call& call, const std::string& name,
                             const cuda::WideArguments& wide) {
  if (wide.splits == 1) return 0;
  if (wide.splits < 1 || wide.splits > cuda::kMostSplits || call.blocks > cuda::kMostSplitBlocks)
    refuse("products are in " + std::to_string(wide.splits) + " splits, by " +
           std::to_string(call.blocks) + " blocks");
  for (const cuda::ClipKernel& kernel : cuda::kClipKernels) {
    if (name != kernel.name) continue;
    const std::int64_t bytes =
        cuda::kSplitCountBytes + call.blocks * cuda::split_bytes(kernel.columns, kernel.rows);
    call.room.need(wide.workspace, bytes, "the workspace");
    need_aligned(wide.workspace, 256, "the workspace");
    return bytes;
  }
  refuse("there is no kernel " + name);
}

void run_wide(const Call& call) {
  const auto arguments = call.parameter<cuda::Arguments>(0);
  check_stream(call, arguments);
  ClipOptions options;
  options.seed = call.seed;
  const bool whole = call.kernel != "vp3d_stream_prepare" && call.kernel != "vp3d_stream_finish";
  cuda::ClipLaunch launch = call.launch(whole ? sizeof(cuda::WideArguments) : sizeof arguments);
  if (whole) {
    const auto wide = call.parameter<cuda::WideArguments>(0);
    const std::string name = call.kernel.substr(std::strlen("vp3d_stream_"));
    check_tiles(call, name, std::int64_t{wide.blocks[0]} + wide.blocks[1], wide.stages);
    launch.workspace_bytes = check_workspace(call, name, wide);
  }
  run_wide_launch(launch, arguments, options);
}

void run_clip(const Call& call) {
  struct Addresses {
    const std::byte *image, *input;
    std::byte* workspace;
    float* answers;
  };
  const auto to = call.parameter<Addresses>(0);
  call.room.need(to.image, 1, "the image");
  need_aligned(to.image, 256, "the image");
  call.room.need(to.input, 1, "the input");
  call.room.need(to.workspace, 1, "the workspace");
  call.room.need(to.answers, 1, "memory of the answers");
  const bool frames = call.kernel == "vp3d_clip_prepare" || call.kernel == "vp3d_clip_finish";
  if (!frames) {
    const auto clip = call.parameter<cuda::ClipArguments>(0);
    check_tiles(call, call.kernel.substr(std::strlen("vp3d_clip_")),
                std::int64_t{clip.products[0].blocks} + clip.products[1].blocks, clip.stages);
  }
  ClipOptions options;
  options.seed = call.seed;
  run_clip_launch(call.launch(frames ? sizeof(cuda::ClipFrames) : sizeof(cuda::ClipArguments)),
                  to.image, to.input, to.workspace, to.answers, options);
}

bool begins_with(const std::string& text, const char* start) {
  return text.compare(0, std::strlen(start), start) == 0;
}

void run(const Call& call) {
  if (call.kernel == "vp3d_stream_step") return run_step(call);
  if (call.kernel == "vp3d_stream_phase") return run_phase(call);
  if (begins_with(call.kernel, "vp3d_stream_")) return run_wide(call);
  if (begins_with(call.kernel, "vp3d_clip_")) return run_clip(call);
  refuse("there is no kernel " + call.kernel);
}

}  // namespace

// How many parameters a kernel has, and their sizes, of which there are at most two; -1 where there
// is no such kernel.
extern "C" int vp3d_simulated_parameters(const char* kernel, int* sizes) {
  const std::string name = kernel;
  sizes[0] = sizeof(cuda::Arguments);
  if (name == "vp3d_stream_step") return sizes[1] = sizeof(void*), 2;
  if (name == "vp3d_stream_phase") return sizes[1] = sizeof(std::int32_t), 2;
  if (name == "vp3d_stream_prepare" || name == "vp3d_stream_finish") return 1;
  sizes[0] = sizeof(cuda::ClipFrames);
  if (name == "vp3d_clip_prepare" || name == "vp3d_clip_finish") return 1;
  for (const cuda::ClipKernel& known : cuda::kClipKernels) {
    sizes[0] = sizeof(cuda::ClipArguments);
    if (name == std::string("vp3d_clip_") + known.name) return 1;
    sizes[0] = sizeof(cuda::WideArguments);
    if (name == std::string("vp3d_stream_") + known.name) return 1;
  }
  return -1;
}

// Runs one launch to its end. Returns null, or what is wrong with it, which stays until the next.
extern "C" const char* vp3d_simulated_launch(const char* kernel, unsigned blocks, unsigned threads,
                                             unsigned shared_bytes, void* const* parameters,
                                             int cooperative, unsigned seed,
                                             const std::uintptr_t* starts,
                                             const std::int64_t* sizes, int count) {
  static thread_local std::string error;
  try {
    run({kernel, blocks, threads, shared_bytes, parameters, cooperative != 0, seed,
         {starts, sizes, count}});
    return nullptr;
  } catch (const std::exception& problem) {
    error = std::string(kernel) + ": " + problem.what();
    return error.c_str();
  }
}
