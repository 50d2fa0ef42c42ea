// The CUDA kernels on a simulated grid against the definition of the network, the native engine,
// and each other: networks, lags, grids and numbers of streams drawn by chance, streams that come
// at different times, and grids that are broken on purpose.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "stream_bench.hpp"

namespace {

using namespace vp3d::test;
using vp3d::ModelSpec;
using vp3d::Precision;
using Case = StreamCase;

const std::string path = "test_cuda_stream.safetensors";

Case random_case(std::uint32_t seed) {
  Random random(seed);
  const std::vector<std::vector<std::int64_t>> widths{
      {3, 3, 3}, {5, 3}, {3, 1, 5}, {1}, {7}, {3, 3}, {1, 3, 1, 3}, {3, 5}, {9, 1}};
  Case c;
  ModelSpec spec;
  spec.filter_widths = widths[random.below(widths.size())];
  spec.causal = random.below(3) == 0;
  spec.channels = 1 + static_cast<std::int64_t>(random.below(70));
  spec.joints_in = 1 + static_cast<std::int64_t>(random.below(17));
  spec.features = 2 + static_cast<std::int64_t>(random.below(2));
  spec.joints_out = 1 + static_cast<std::int64_t>(random.below(17));
  c.networks.push_back({"pose", spec});
  if (random.below(2) == 0) {
    spec.channels = 1 + static_cast<std::int64_t>(random.below(70));
    spec.joints_out = 1;
    c.networks.push_back({"trajectory", spec});
  }
  c.precision = static_cast<Precision>(seed % 3);
  c.lag = static_cast<std::int64_t>(
      random.below(static_cast<std::size_t>(spec.lookahead()) + 1));
  c.grid.blocks = 1 + static_cast<int>(random.below(9));
  c.grid.shared_bytes = static_cast<std::int64_t>(random.below(3)) * 20'000;
  c.grid.tensor_columns = random.below(2) == 0 ? 0 : 1 + static_cast<int>(random.below(12));
  c.device.shape = static_cast<vp3d::cuda::ClipShape>(random.below(5));
  c.device.splits = 1 + static_cast<int>(random.below(4));
  c.options.warps = 1 + static_cast<int>(random.below(5));
  c.options.seed = seed;
  return c;
}

void check_random_cases() {
#ifdef VP3D_TESTS_RUN_SLOWLY
  constexpr std::uint32_t kCases = kThreadSanitizer ? 5 : 10;
#else
  constexpr std::uint32_t kCases = 60;
#endif
  for (std::uint32_t seed = 1; seed <= kCases; ++seed) {
    const Case c = random_case(seed);
    const std::int64_t frames = c.networks[0].spec.receptive_field() + 12;
    const Comparison comparison = StreamBench(c, path).run(frames, 1 + seed % 8, true);
    check(comparison.holds(c.precision), name_of(c) + ": " + comparison.text(), __FILE__, __LINE__);
  }
}

// Tables and frames that are too large to be kept near.
void check_large_tables() {
  Case c;
  c.networks = {{"pose", {{1025}, 5, 1, 2, 4, false}}};
  c.precision = Precision::fp32;
  c.lag = 3;
  c.grid = {2, 0, 0};
  StreamBench bench(c, path);
  CHECK(DeviceStream(c, path).header().near_bytes > vp3d::cuda::kNearTableBytes);
  check(bench.run(8, 31, true).holds(c.precision), name_of(c), __FILE__, __LINE__);
}

// Tiles of many streams, several in both directions. Those of float32 have one shape.
void check_many_streams() {
  using vp3d::cuda::ClipShape;
  const std::vector<std::pair<Precision, std::vector<ClipShape>>> shapes{
      {Precision::fp16,
       {ClipShape::group, ClipShape::huge, ClipShape::wide, ClipShape::tall, ClipShape::tile}},
      {Precision::int8, {ClipShape::group, ClipShape::wide}},
      {Precision::fp32, {ClipShape::tile}}};
  for (const auto& [precision, own] : shapes) {
    Case c;
    c.networks = {{"pose", {{3, 3}, 140, 5, 2, 4, false}},
                  {"trajectory", {{3, 3}, 72, 5, 2, 1, false}}};
    c.precision = precision;
    c.lag = 1;
    c.grid = {7, 0, 8};
    for (const ClipShape shape : own) {
      c.device.shape = shape;
      StreamBench bench(c, path);
      check(bench.run(6, 45, true).holds(c.precision), name_of(c), __FILE__, __LINE__);
    }
  }
}

// Launches that begin while the ones before them run, with weights alone.
void check_overlaps() {
  Case c;
  c.networks = {{"pose", {{3, 3}, 70, 5, 2, 4, false}},
                {"trajectory", {{3, 3}, 40, 5, 2, 1, false}}};
  using vp3d::cuda::ClipShape;
  for (const ClipShape shape : {ClipShape::tile, ClipShape::wide, ClipShape::group})
    for (const int splits : {1, 2}) {
      c.device.shape = shape;
      c.device.splits = splits;
      c.overlaps = true;
      check(StreamBench(c, path).run_wide(5, 12).holds(c.precision), name_of(c), __FILE__,
            __LINE__);
    }
  c.hides_frames = false;
  c.faults.launch_not_awaited = true;
  check(!StreamBench(c, path).run_wide(5, 12).holds(c.precision),
        "launches that are not waited for are not missed", __FILE__, __LINE__);
}

// Several blocks, and all weights staged.
Case whole_case() {
  Case c;
  c.networks = {{"pose", {{3, 3, 3}, 24, 5, 2, 4, false}},
                {"trajectory", {{3, 3, 3}, 40, 5, 2, 1, false}}};
  c.precision = Precision::fp32;
  c.grid = {5, 1 << 20, 0};
  return c;
}

// Some orders of turns hide a missing barrier; one of several shows it.
bool is_noticed(Case broken) {
  for (broken.options.seed = 1; broken.options.seed <= 5; ++broken.options.seed)
    if (!StreamBench(broken, path).run(8, 2, false).holds(broken.precision)) return true;
  return false;
}

// What must not go unnoticed: each barrier left out, each stage not waited for.
void check_broken_grids() {
  const Case whole = whole_case();
  const auto phases = static_cast<int>(2 * whole.networks[0].spec.filter_widths.size());
  check(!is_noticed(whole), "a whole grid answers wrongly", __FILE__, __LINE__);
  for (int i = 0; i < phases; ++i) {
    Case broken = whole;
    broken.options.faults.stage_not_awaited = i;
    check(is_noticed(broken), "stage " + std::to_string(i) + " is not missed", __FILE__, __LINE__);
    if (i + 1 == phases) break;
    broken = whole;
    broken.options.faults.barrier_left_out = i;
    check(is_noticed(broken), "barrier " + std::to_string(i) + " is not missed", __FILE__,
          __LINE__);
  }
  Case broken = whole;
  broken.options.faults.barrier_of_one_block = true;
  CHECK_THROWS(Hang, StreamBench(broken, path).run(1, 1, false), "hangs");
}

}  // namespace

int main() {
  check_random_cases();
  check_large_tables();
  check_many_streams();
  if (!kThreadSanitizer) check_overlaps();  // a block's memory is there when one warp has waited
  // Under ThreadSanitizer what is missing is a race, and ends the test.
  if (!kThreadSanitizer) check_broken_grids();
  std::remove(path.c_str());
  return vp3d::test::result();
}
