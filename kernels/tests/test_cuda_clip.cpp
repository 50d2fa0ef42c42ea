// Windows and sequences by the CUDA kernels, on a simulated grid, against the definition and the
// native engine: networks, batches, clips and kernels drawn by chance, every kernel at its own size,
// and pipelines that are broken on purpose.
#include <cstdio>
#include <set>

#include "clip_bench.hpp"

namespace {

using namespace vp3d::test;
using vp3d::ModelSpec;
using vp3d::Precision;
using vp3d::cuda::ClipShape;

const std::string path = "test_cuda_clip.safetensors";

void check_case(const ClipCase& c) {
  const ClipBench bench(c, path);
  const std::vector<Floats> answers = bench.answers();
  const Comparison comparison = bench.with_definition(answers);
  check(comparison.holds(c.precision), name_of(c) + ": " + comparison.text(), __FILE__, __LINE__);
  const double worst = bench.worst_to_native(answers);
  check(worst < native_limit(c.precision),
        name_of(c) + ": differs from the native engine by " + std::to_string(worst), __FILE__,
        __LINE__);
}

ClipCase random_case(std::uint32_t seed) {
  Random random(seed);
  const std::vector<std::vector<std::int64_t>> widths{
      {3, 3, 3}, {5, 3}, {3, 1, 5}, {1}, {7}, {3, 3}, {1, 3, 1, 3}, {3, 5}, {9, 1}};
  ClipCase c;
  ModelSpec spec;
  spec.filter_widths = widths[random.below(widths.size())];
  spec.causal = random.below(3) == 0;
  spec.channels = 1 + static_cast<std::int64_t>(random.below(100));
  spec.joints_in = 1 + static_cast<std::int64_t>(random.below(17));
  spec.features = 2 + static_cast<std::int64_t>(random.below(2));
  spec.joints_out = 1 + static_cast<std::int64_t>(random.below(23));
  const std::size_t count = 1 + random.below(3);
  for (std::size_t i = 0; i < count; ++i) {
    c.networks.push_back({"network" + std::to_string(i), spec});
    spec.channels = 1 + static_cast<std::int64_t>(random.below(70));
    spec.joints_out = 1;
  }
  c.precision = static_cast<Precision>(seed % 3);
  c.windows = random.below(2) == 0;
  c.batch = 1 + static_cast<std::int64_t>(random.below(4));
  c.frames = spec.receptive_field() + static_cast<std::int64_t>(random.below(40));
  c.device.shape = static_cast<ClipShape>(random.below(6));
  c.device.shared_bytes = (48 << 10) << random.below(3);
  c.options.seed = seed;
  return c;
}

void check_random_cases() {
#ifdef VP3D_TESTS_RUN_SLOWLY
  constexpr std::uint32_t kCases = kThreadSanitizer ? 18 : 30;
#else
  constexpr std::uint32_t kCases = 90;
#endif
  for (std::uint32_t seed = 1; seed <= kCases; ++seed) check_case(random_case(seed));
}

// More than one tile in both directions and of both networks, and clips that share a tile.
void check_many_tiles(ClipShape shape, Precision precision) {
  ClipCase c;
  c.networks = {{"pose", {{3, 3}, 150, 3, 2, 2, false}},
                {"trajectory", {{3, 3}, 70, 3, 2, 1, false}}};
  c.precision = precision;
  c.batch = 2;
  c.frames = 9 + 150;
  c.device.shape = shape;
  check_case(c);
}

// By itself a plan takes the kernels that fill the device.
void check_choice() {
  const std::vector<vp3d::Network> networks{{"pose", {{3, 3, 3}, 1024, 17, 2, 17, false}}};
  write_file(path, file_of(random_tensors(networks, Precision::fp16, 1)));
  const vp3d::cuda::ClipWeights weights(vp3d::cpu::SafetensorsFile(path), networks,
                                        Precision::fp16);
  vp3d::cuda::Device device{132, 227 << 10, {}, false};
  const auto kernels = [](const vp3d::cuda::ClipPlan& plan) {
    std::set<std::string> names;
    for (const vp3d::cuda::ClipLaunch& launch : plan.launches) {
      names.insert(launch.kernel);
      CHECK(launch.shared_bytes <= 227 << 10);
    }
    return names;
  };
  CHECK(kernels(plan_window(weights, 1, device)) ==
        (std::set<std::string>{"vp3d_clip_narrow_f16", "vp3d_clip_narrow_f32"}));
  CHECK(kernels(plan_sequence(weights, 16, 1000, device)) ==
        (std::set<std::string>{"vp3d_clip_huge_f16", "vp3d_clip_tile_f32"}));
  device.warpgroups = true;
  CHECK(kernels(plan_sequence(weights, 16, 1000, device)) ==
        (std::set<std::string>{"vp3d_clip_group_f16", "vp3d_clip_tile_f32"}));
}


ClipCase broken_case(ClipShape shape, const ClipFaults& faults) {
  ClipCase c;
  c.networks = {{"pose", {{3, 3}, 48, 5, 2, 4, false}}};
  c.frames = 9 + 60;
  c.device.shape = shape;
  c.options.faults = faults;
  return c;
}

bool is_noticed(ClipCase c) {
  for (c.options.seed = 1; c.options.seed <= 5; ++c.options.seed) {
    const ClipBench bench(c, path);
    if (!bench.with_definition(bench.answers()).holds(c.precision)) return true;
  }
  return false;
}

// A step that is not waited for, and a barrier that is left out, must show.
void check_broken_pipelines() {
  for (const ClipShape shape : {ClipShape::tile, ClipShape::tall, ClipShape::wide, ClipShape::huge,
                                ClipShape::group}) {
    CHECK(!is_noticed(broken_case(shape, {})));
    for (int step = 0; step < 4; ++step) {
      ClipFaults faults;
      faults.await_left_out = step;
      check(is_noticed(broken_case(shape, faults)),
            "a step that is not waited for is not missed: " + std::to_string(step), __FILE__,
            __LINE__);
      faults = {};
      faults.barrier_left_out = step;
      check(is_noticed(broken_case(shape, faults)),
            "barrier " + std::to_string(step) + " is not missed", __FILE__, __LINE__);
    }
  }
  for (int step = 0; step < 3; ++step) {
    ClipFaults faults;
    faults.publish_left_out = step;
    check(is_noticed(broken_case(ClipShape::group, faults)),
          "copies that are not published are not missed: " + std::to_string(step), __FILE__,
          __LINE__);
  }
  ClipFaults faults;
  faults.barrier_left_out = 0;
  CHECK(is_noticed(broken_case(ClipShape::narrow, faults)));
}

void check_refusals() {
  const std::vector<vp3d::Network> networks{{"pose", {{3, 3}, 8, 3, 2, 2, false}}};
  write_file(path, file_of(random_tensors(networks, Precision::fp16, 1)));
  const vp3d::cpu::SafetensorsFile file(path);
  const vp3d::cuda::ClipWeights weights(file, networks, Precision::fp16);
  const vp3d::cuda::Device device;
  CHECK_THROWS(std::invalid_argument, plan_window(weights, 0, device), "at least 1 item, not 0");
  CHECK_THROWS(std::invalid_argument, plan_sequence(weights, 1, 8, device), "pad it");
  CHECK_THROWS(std::invalid_argument, plan_sequence(weights, 1 << 20, 1 << 20, device), "split");
  CHECK_THROWS(std::invalid_argument, plan_window(weights, 1, {0, 48 << 10, {}, false}), "48 KB");
  CHECK_THROWS(vp3d::WeightsError,
               vp3d::cuda::ClipWeights(file, networks, Precision::int8), "another type");
  CHECK_THROWS(std::invalid_argument, vp3d::cuda::ClipWeights(file, {}, Precision::fp16), "not 0");
  std::vector<vp3d::Network> two{networks[0], networks[0]};
  two[1].spec.joints_in = 4;
  CHECK_THROWS(std::invalid_argument, vp3d::cuda::ClipWeights(file, two, Precision::fp16),
               "same frames");
}

}  // namespace

int main() {
  check_random_cases();
  // ThreadSanitizer takes a minute for the rest.
  if (kThreadSanitizer) {
    check_many_tiles(ClipShape::group, Precision::fp16);
    check_many_tiles(ClipShape::tile, Precision::int8);
  } else {
    for (const ClipShape shape : {ClipShape::group, ClipShape::huge, ClipShape::wide,
                                  ClipShape::tall, ClipShape::tile, ClipShape::narrow})
      for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8})
        check_many_tiles(shape, precision);
  }
  check_choice();
  check_refusals();
  // Under ThreadSanitizer what is missing is a race, and ends the test.
  if (!kThreadSanitizer) check_broken_pipelines();
  std::remove(path.c_str());
  return vp3d::test::result();
}
