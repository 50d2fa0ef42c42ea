// Steps of many streams whose products are split along their inputs, on a simulated grid: which are
// split, the same bits whichever block comes last, in 8 bits the same as without splits, and
// exchanges that are broken on purpose.
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "stream_bench.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Precision;
using vp3d::cuda::ClipLaunch;
using vp3d::cuda::ClipShape;
using vp3d::cuda::Device;
using vp3d::cuda::WideArguments;

const std::string path = "test_cuda_splits.safetensors";

// Two networks whose products have other numbers of tiles, and of steps that splits do not divide.
StreamCase split_case(Precision precision, ClipShape shape, int splits) {
  StreamCase c;
  c.networks = {{"pose", {{3, 3}, 140, 5, 2, 4, false}},
                {"trajectory", {{3, 3}, 72, 5, 2, 1, false}}};
  c.precision = precision;
  c.grid = {7, 0, 8};
  c.device.shape = shape;
  c.device.splits = splits;
  return c;
}

#ifdef VP3D_TESTS_RUN_SLOWLY
const std::vector<int> answered{3}, ordered{3}, counted{3};
constexpr int kOrders = 3;
#else
const std::vector<int> answered{2, 3}, ordered{2, 3, 8}, counted{2, 3, 4};
constexpr int kOrders = 10;
#endif

const std::vector<std::pair<Precision, std::vector<ClipShape>>> shapes{
    {Precision::fp16,
     {ClipShape::group, ClipShape::huge, ClipShape::wide, ClipShape::tall, ClipShape::tile}},
    {Precision::int8, {ClipShape::group, ClipShape::tall}},
    {Precision::fp32, {ClipShape::tile}}};

void check_answers() {
  for (const auto& [precision, own] : shapes)
    for (const ClipShape shape : own)
      for (const int splits : answered) {
        const StreamCase c = split_case(precision, shape, splits);
        const Comparison comparison = StreamBench(c, path).run_wide(4, 30);
        check(comparison.holds(precision), name_of(c) + ": " + comparison.text(), __FILE__,
              __LINE__);
      }
}

// Answers and state after some frames.
struct Outcome {
  std::vector<Floats> answers;
  std::vector<std::byte> places;

  bool operator==(const Outcome& other) const {
    bool same = places == other.places && answers.size() == other.answers.size();
    for (std::size_t i = 0; same && i < answers.size(); ++i)
      same = answers[i].size() == other.answers[i].size() &&
             std::memcmp(answers[i].data(), other.answers[i].data(),
                         answers[i].size() * sizeof(float)) == 0;
    return same;
  }
};

// The same weights and frames whatever the seed, which is of the order of blocks and warps. `plan`
// says by which launches a step runs.
template <class Plan>
Outcome outcome(const StreamCase& c, const Plan& plan) {
  StreamCase same = c;
  same.options.seed = 1;
  StreamBench bench(same, path);
  DeviceStream stream(c, path);
  std::vector<Floats> seen;
  Random random(7);
  Outcome found;
  for (int t = 0; t < 4; ++t) {
    for (int i = 0; i < (t == 0 ? 20 : t == 2 ? 5 : 0); ++i) {
      stream.add_row();
      seen.emplace_back();
    }
    found.answers.push_back(
        stream.step(bench.next_keypoints(seen, random), Way::wide, plan(stream)));
  }
  found.places = stream.places();
  return found;
}

Outcome outcome(const StreamCase& c) {
  return outcome(c, [&](const DeviceStream& stream) { return stream.wide_launches(c.device); });
}

// Each split comes last where blocks begin at another one, and many more ways by chance.
void check_orders() {
  for (const int splits : ordered) {
    StreamCase c = split_case(Precision::fp16, ClipShape::tile, splits);
    c.first_block = 0;
    const Outcome first = outcome(c);
    for (c.first_block = 1; c.first_block < kOrders; ++c.first_block)
      check(outcome(c) == first,
            name_of(c) + ": other bits from block " + std::to_string(c.first_block) + " on",
            __FILE__, __LINE__);
    c.first_block = -1;
    for (c.options.seed = 1; c.options.seed < 4; ++c.options.seed)
      check(outcome(c) == first, name_of(c) + ": other bits in another order", __FILE__, __LINE__);
  }
}

// Sums of 8 bits are whole numbers. The first layer and the last are not, and stay whole.
void check_whole_numbers() {
  for (const ClipShape shape : {ClipShape::tile, ClipShape::wide, ClipShape::group}) {
    const StreamCase c = split_case(Precision::int8, shape, 1);
    const Outcome whole = outcome(c);
    for (const int splits : counted) {
      const Outcome split = outcome(c, [&](const DeviceStream& stream) {
        Device device = c.device;
        std::vector<ClipLaunch> launches = stream.wide_launches(device);
        device.splits = splits;
        const std::vector<ClipLaunch> others = stream.wide_launches(device);
        std::size_t changed = 0;
        for (std::size_t i = 0; i < launches.size(); ++i)
          if (launches[i].kernel.find("_i8") != std::string::npos) {
            launches[i] = others[i];
            ++changed;
          }
        CHECK_EQUAL(changed, 2U);
        return launches;
      });
      check(split == whole, name_of(c) + ": other bits in " + std::to_string(splits) + " splits",
            __FILE__, __LINE__);
    }
  }
}

WideArguments arguments_of(const ClipLaunch& launch) {
  WideArguments arguments;
  CHECK_EQUAL(launch.arguments.size(), sizeof arguments);
  std::memcpy(&arguments, launch.arguments.data(), sizeof arguments);
  return arguments;
}

void check_plans() {
  const StreamCase c = split_case(Precision::fp16, ClipShape::tile, 3);
  write_file(path, file_of(random_tensors(c.networks, c.precision, 1)));
  DeviceStream stream(c, path);
  for (int i = 0; i < 100; ++i) stream.add_row();
  for (const ClipLaunch& launch : stream.wide_launches(c.device)) {
    const WideArguments arguments = arguments_of(launch);
    CHECK_EQUAL(arguments.splits, 3);
    CHECK_EQUAL(launch.blocks, arguments.blocks[0] + arguments.blocks[1]);
    CHECK(arguments.blocks[0] % 3 == 0 && arguments.blocks[1] % 3 == 0);
    CHECK_EQUAL(launch.workspace_bytes,
                vp3d::cuda::kSplitCountBytes + launch.blocks * 64 * 64 * 4);
  }
  // Not more than there are steps, or counts; by itself a plan for a device that is full has none.
  Device device = c.device;
  device.splits = 100;
  for (const ClipLaunch& launch : stream.wide_launches(device)) {
    const int splits = arguments_of(launch).splits;
    CHECK(splits >= 2 && splits <= vp3d::cuda::kMostSplits);
    CHECK(launch.blocks <= vp3d::cuda::kMostSplitBlocks);
  }
  device.splits.reset();
  for (const ClipLaunch& launch : stream.wide_launches(device)) {
    CHECK_EQUAL(arguments_of(launch).splits, 1);
    CHECK_EQUAL(launch.workspace_bytes, 0);
  }
}

// On 132 multiprocessors, of layers of 1024 channels.
void check_choice() {
  using vp3d::cuda::Number;
  const Device device{132, 227 << 10, {}, false};
  const auto chosen = [&](Number type, std::int64_t columns, std::int64_t rows,
                          std::int64_t inputs) {
    const vp3d::cuda::SplitKernel found = choose_split_kernel(
        type, {{columns, rows, vp3d::cuda::steps_of(inputs, type)}}, device);
    return std::string(found.kernel->name) + " " + std::to_string(found.splits);
  };
  // Convolutions of 256 people at lag 0: 48 tiles, or twice as many of half the inputs.
  CHECK_EQUAL(chosen(Number::f16, 768, 1024, 3072), "wide_f16 2");
  CHECK_EQUAL(chosen(Number::f16, 768, 1024, 1024), "tall_f16 1");
  // Four tiles of the last layer, of 1024 steps of 16 numbers each.
  CHECK_EQUAL(chosen(Number::f32, 256, 51, 1024), "tile_f32 8");
  // What fills the device stays whole.
  CHECK_EQUAL(chosen(Number::f16, 3072, 1024, 3072), "wide_f16 1");
  CHECK_EQUAL(chosen(Number::i8, 3072, 1024, 3072), "wide_i8 1");
  // There are 1024 counts.
  Device asked = device;
  asked.shape = ClipShape::tile;
  asked.splits = 8;
  for (const auto& [columns, splits] : {std::pair(64 * 25, 2), std::pair(64 * 65, 1)})
    CHECK_EQUAL(choose_split_kernel(Number::f16, {{columns, 1024, 96}}, asked).splits, splits);
  // Too few steps to share.
  CHECK_EQUAL(chosen(Number::f32, 128, 64, 34), "tile_f32 1");
}

StreamCase broken_case(int splits) {
  StreamCase c;
  c.networks = {{"pose", {{3, 3}, 40, 5, 2, 4, false}}};
  c.grid = {3, 0, 8};
  c.device.shape = ClipShape::tile;
  c.device.splits = splits;
  return c;
}

// Warps of a block that do not agree on whether it is the last hang.
bool is_noticed(StreamCase c) {
  for (c.options.seed = 1; c.options.seed <= 5; ++c.options.seed) try {
      if (!StreamBench(c, path).run_wide(6, 12).holds(c.precision)) return true;
    } catch (const Hang&) {
      return true;
    }
  return false;
}

void check_broken_exchanges() {
  for (const int splits : {2, 3}) {
    const StreamCase whole = broken_case(splits);
    CHECK(!is_noticed(whole));
    StreamCase broken = whole;
    broken.faults.exchange.release_left_out = true;
    check(is_noticed(broken), "sums that are not released are not missed", __FILE__, __LINE__);
    broken = whole;
    broken.faults.exchange.acquire_left_out = true;
    check(is_noticed(broken), "an arrival that sees nothing is not missed", __FILE__, __LINE__);
    broken = whole;
    broken.faults.exchange.reset_left_out = true;
    CHECK_THROWS(std::logic_error, StreamBench(broken, path).run_wide(1, 12), "of splits is");
    // Those of the exchange are behind those of one to three steps.
    for (int barrier = 1; barrier < 5; ++barrier) {
      broken = whole;
      broken.faults.barrier_left_out = barrier;
      check(is_noticed(broken), "barrier " + std::to_string(barrier) + " is not missed", __FILE__,
            __LINE__);
    }
  }
}

}  // namespace

int main() {
  check_plans();
  check_choice();
  check_answers();
  check_orders();
  check_whole_numbers();
  // Under ThreadSanitizer what is missing is a race, and ends the test.
  if (!kThreadSanitizer) check_broken_exchanges();
  std::remove(path.c_str());
  return vp3d::test::result();
}
