// The first and the last stage of the CUDA kernels, pixels to what the network reads and answers to
// positions in the world, against numbers of the Python code (tests/kernels/test_processing.py), and
// around whole steps, windows and sequences.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "clip_bench.hpp"
#include "image.hpp"
#include "processing_golden.hpp"
#include "processing_tables.hpp"
#include "simulated_clip.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Network;
using vp3d::Precision;
using vp3d::cuda::Processing;
using vp3d::cuda::ProcessingTables;
using vp3d::cuda::View;

const std::string path = "test_cuda_processing.safetensors";

// 17 joints of Human3.6M, and the trajectory.
std::vector<Network> networks_of(const Golden& golden) {
  const vp3d::ModelSpec pose{{3, 3}, 24, 17, golden.features, 17, false};
  vp3d::ModelSpec trajectory = pose;
  trajectory.joints_out = 1;
  trajectory.channels = 40;
  return {{"pose", pose}, {"trajectory", trajectory}};
}

void check_near(float found, float expected, const std::string& what) {
  check(std::fabs(found - expected) <= 2e-6F * std::fmax(1.0F, std::fabs(expected)),
        what + ": " + std::to_string(found) + " is not " + std::to_string(expected), __FILE__,
        __LINE__);
}

void check_numbers(const Golden& golden) {
  ProcessingTables tables =
      vp3d::cuda::processing_tables(golden.processing, networks_of(golden));
  const Floats &shown = golden.numbers.at("shown"), &pose = golden.numbers.at("pose"),
               &root = golden.numbers.at("root");
  CHECK_EQUAL(shown.size(), 17U * static_cast<std::size_t>(golden.features));
  for (int i = 0; i < 17 * golden.features; ++i)
    check_near(vp3d::cuda::prepared_value(tables, golden.processing.joints.data(),
                                          golden.processing.shares.data(), golden.view,
                                          golden.numbers.at("seen").data(), i / golden.features,
                                          i % golden.features),
               shown[static_cast<std::size_t>(i)], golden.source + " shown");
  for (int world = 0; world < 2; ++world) {
    tables.to_world = world;
    const Floats& expected = golden.numbers.at(world == 1 ? "world" : "placed");
    for (std::size_t i = 0; i < 51; ++i)
      check_near(vp3d::cuda::finished_value(tables, &golden.view, &pose[i / 3 * 3], root.data(),
                                            static_cast<int>(i % 3)),
                 expected[i], golden.source + " joints");
    for (std::size_t i = 0; i < 3; ++i)
      check_near(vp3d::cuda::finished_value(tables, &golden.view, root.data(), nullptr,
                                            static_cast<int>(i)),
                 world == 1 ? golden.numbers.at("world_root")[i] : root[i],
                 golden.source + " root");
  }
}

// What is not seen stays so: in whatever it takes part, and in nothing else.
void check_nan() {
  Processing processing;
  processing.joints_seen = 3;
  processing.parts = 2;
  processing.joints = {0, 0, 1, 2};  // the first alone; the mean of the others
  processing.shares = {1, 0, 0.5F, 0.5F};
  const ProcessingTables tables = vp3d::cuda::processing_tables(
      processing, {{"pose", {{3}, 8, 2, 3, 2, false}}});
  const View view{{10, 20}, 10, 0, {}, {}};
  const auto value = [&](const Floats& seen, int joint, int feature) {
    return vp3d::cuda::prepared_value(tables, processing.joints.data(), processing.shares.data(),
                                      view, seen.data(), joint, feature);
  };
  const Floats seen{NAN, 5, 0.5F, 20, 30, 0.25F, 10, 40, NAN};
  CHECK(std::isnan(value(seen, 0, 0)));
  CHECK_EQUAL(value(seen, 0, 1), -1.5F);
  CHECK_EQUAL(value(seen, 1, 0), 0.5F);
  CHECK_EQUAL(value(seen, 1, 1), 1.5F);
  CHECK(std::isnan(value(seen, 1, 2)));
  CHECK_EQUAL(value(seen, 0, 2), 0.5F);
}

// Frames of the skeleton seen, drawn by chance around the golden one.
Floats frames_around(const Golden& golden, std::int64_t count, Random& random) {
  Floats frames;
  for (std::int64_t t = 0; t < count; ++t)
    for (const float number : golden.numbers.at("seen"))
      frames.push_back(number * static_cast<float>(random.uniform(0.9, 1.1)));
  return frames;
}

// The same before the network and behind it in float64, for what surrounds it.
Floats prepared(const Golden& golden, const Floats& seen) {
  const auto joints_seen = static_cast<std::size_t>(golden.processing.joints_seen);
  const auto features = static_cast<std::size_t>(golden.features);
  const auto parts = static_cast<std::size_t>(golden.processing.parts);
  Floats shown;
  for (std::size_t frame = 0; frame < seen.size() / (joints_seen * features); ++frame)
    for (std::size_t joint = 0; joint < 17; ++joint)
      for (std::size_t feature = 0; feature < features; ++feature) {
        double sum = 0, least = HUGE_VAL;
        for (std::size_t part = 0; part < parts; ++part) {
          const auto from = static_cast<std::size_t>(golden.processing.joints[joint * parts + part]);
          const double own = seen[(frame * joints_seen + from) * features + feature];
          const double share = golden.processing.shares[joint * parts + part];
          if (feature == 2) least = std::fmin(least, share > 0 ? own : HUGE_VAL);
          else sum += share * (own - golden.view.centre[feature]) / golden.view.half;
        }
        shown.push_back(static_cast<float>(feature == 2 ? least : sum));
      }
  return shown;
}

// pose (n, 51) and root (n, 3) -> what comes out for both, one network behind the other.
std::vector<std::vector<double>> finished(const Golden& golden,
                                          const std::vector<std::vector<double>>& raw) {
  std::vector<std::vector<double>> all;
  for (std::size_t network = 0; network < 2; ++network) {
    auto& own = all.emplace_back();
    const std::size_t rows = network == 0 ? 51 : 3;
    for (std::size_t i = 0; i < raw[network].size(); ++i) {
      const std::size_t frame = i / rows;
      double value = golden.view.position[i % 3];
      for (std::size_t k = 0; k < 3; ++k) {
        const double point = raw[network][i / 3 * 3 + k];
        const double root = network == 0 ? raw[1][frame * 3 + k] : 0;
        value += (point + root) * golden.view.rotation[3 * k + i % 3];
      }
      own.push_back(value);
    }
  }
  return all;
}

// Windows and sequences of two items with views of their own.
void check_clips(const Golden& golden, bool windows) {
  const std::vector<Network> networks = networks_of(golden);
  const Tensors tensors = random_tensors(networks, Precision::fp32, 3);
  write_file(path, file_of(tensors));
  const vp3d::cuda::ClipWeights weights(vp3d::cpu::SafetensorsFile(path), networks,
                                        Precision::fp32, golden.processing);
  const std::int64_t frames = windows ? 9 : 14;
  const vp3d::cuda::Device device;
  const vp3d::cuda::ClipPlan plan = windows ? plan_window(weights, 2, device)
                                            : plan_sequence(weights, 2, frames, device);
  Random random(4);
  Golden other = golden;
  other.view.centre[0] += 40;
  other.view.half *= 2;
  other.view.position[1] -= 3;
  const Floats clips[2] = {frames_around(golden, frames, random),
                           frames_around(golden, frames, random)};
  std::vector<std::byte> input;
  for (const View& view : {golden.view, other.view}) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&view);
    input.insert(input.end(), bytes, bytes + sizeof view);
  }
  for (const Floats& clip : clips) {
    const std::vector<std::byte> bytes = bytes_of(clip);
    input.insert(input.end(), bytes.begin(), bytes.end());
  }
  const std::vector<Floats> answers = run_clip(weights, plan, input, {});
  Comparison comparison;
  for (std::size_t item = 0; item < 2; ++item) {
    const Golden& own = item == 0 ? golden : other;
    std::vector<std::vector<double>> raw;
    for (const Network& network : networks)
      raw.push_back(Definition(network, tensors)(prepared(own, clips[item])));
    const std::vector<std::vector<double>> expected = finished(own, raw);
    for (std::size_t network = 0; network < 2; ++network)
      for (std::size_t i = 0; i < expected[network].size(); ++i)
        comparison(answers[network].at(item * expected[network].size() + i),
                   expected[network][i]);
  }
  check(comparison.holds(Precision::fp32), golden.source + ": " + comparison.text(), __FILE__,
        __LINE__);
}

// Live streams, so many that inputs are prepared near or far, in all three ways of a step.
void check_steps(const Golden& golden, std::size_t rows) {
  const std::vector<Network> networks = networks_of(golden);
  const Tensors tensors = random_tensors(networks, Precision::fp32, 3);
  write_file(path, file_of(tensors));
  const std::int64_t lag = 1;
  const std::vector<std::byte> image =
      build_image(vp3d::cpu::SafetensorsFile(path), networks, Precision::fp32, lag,
                  {3, 1 << 20, 0}, golden.processing);
  const vp3d::cuda::Image& header = vp3d::cuda::header_of(image);
  CHECK_EQUAL(vp3d::cuda::frame_numbers(header), golden.processing.joints_seen * golden.features);
  std::vector<std::byte> places[3];
  std::vector<vp3d::cuda::Row> all(rows);
  for (std::size_t i = 0; i < rows; ++i) all[i].place = static_cast<std::uint32_t>(i);
  for (auto& memory : places)
    memory.resize(static_cast<std::size_t>(header.place_bytes) * rows);
  std::vector<Floats> seen(rows);
  Random random(9);
  Comparison comparison;
  for (int t = 0; t < 6; ++t) {
    Floats keypoints;
    for (Floats& row : seen) {
      const Floats frame = frames_around(golden, 1, random);
      row.insert(row.end(), frame.begin(), frame.end());
      keypoints.insert(keypoints.end(), frame.begin(), frame.end());
    }
    const std::vector<std::byte> frame = build_frame(header, all, keypoints.data(),
                                                     std::vector<View>(rows, golden.view));
    Floats answers[3];
    for (int way = 0; way < 3; ++way) {
      answers[way].assign(rows * 54, NAN);
      const vp3d::cuda::Arguments arguments{image.data(), places[way].data(), frame.data(),
                                            answers[way].data()};
      if (way == 0) launch_step(arguments, {});
      if (way == 1) launch_phases(arguments, {});
      if (way == 2)
        for (const auto& launch : vp3d::cuda::plan_wide_step(image, static_cast<std::int64_t>(rows), {}))
          run_wide_launch(launch, arguments, {});
    }
    for (vp3d::cuda::Row& row : all) row.frames = vp3d::cuda::next_frame(row.frames, header.frame_cycle);
    if (t < lag) continue;
    for (std::size_t row = 0; row < rows; ++row) {
      const Floats window = live_window(networks[0].spec, prepared(golden, seen[row]), lag);
      std::vector<std::vector<double>> raw;
      for (const Network& network : networks) raw.push_back(Definition(network, tensors)(window));
      std::vector<double> expected;
      for (const std::vector<double>& own : finished(golden, raw))
        expected.insert(expected.end(), own.begin(), own.end());
      for (const Floats& found : answers)
        for (std::size_t i = 0; i < 54; ++i) comparison(found[row * 54 + i], expected[i]);
    }
  }
  check(comparison.holds(Precision::fp32),
        golden.source + ", " + std::to_string(rows) + " streams: " + comparison.text(), __FILE__,
        __LINE__);
}

void check_refusals(const Golden& golden) {
  const std::vector<Network> networks = networks_of(golden);
  const auto refused = [&](const Processing& processing, const std::string& part) {
    CHECK_THROWS(std::invalid_argument, vp3d::cuda::check_processing(processing, networks), part);
  };
  Processing processing = golden.processing;
  processing.joints.back() = processing.joints_seen;
  refused(processing, "made of joint");
  processing = golden.processing;
  processing.shares.pop_back();
  refused(processing, "shares");
  processing = golden.processing;
  processing.add_trajectory = false;
  refused(processing, "trajectory");
  CHECK_THROWS(std::invalid_argument,
               vp3d::cuda::check_processing(golden.processing, {networks[0]}), "two networks");
  write_file(path, file_of(random_tensors(networks, Precision::fp32, 3)));
  const std::vector<std::byte> image =
      build_image(vp3d::cpu::SafetensorsFile(path), networks, Precision::fp32, 0, {},
                  golden.processing);
  const Floats keypoints(200);
  CHECK_THROWS(std::invalid_argument,
               build_frame(vp3d::cuda::header_of(image), {{0, 0}}, keypoints.data()), "0 views");
}

}  // namespace

int main(int n_arguments, char** arguments) {
  if (n_arguments != 2) {
    std::cerr << "usage: test_cuda_processing processing.txt\n";
    return EXIT_FAILURE;
  }
  const std::vector<Golden> all = read_golden(arguments[1]);
  CHECK_EQUAL(all.size(), 16U);
  for (const Golden& golden : all) check_numbers(golden);
  check_nan();
  for (std::size_t i = 0; i < all.size(); i += 3) {
    check_clips(all[i], i % 2 == 0);
    check_steps(all[i], i == 3 ? 20 : 2);
  }
  check_refusals(all.at(0));
  std::remove(path.c_str());
  return vp3d::test::result();
}
