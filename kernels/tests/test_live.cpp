// Around a run of examples/live.cpp, in one directory:
//
//   test_live write                      a bundle of random weights, net.vp3d, and frames.txt
//   test_live compare PRECISION LAG      is poses.PRECISION.LAG.txt what the definition answers?
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <string>
#include <vector>

#include "check.hpp"
#include "reference_network.hpp"

namespace {

using namespace vp3d::test;
using vp3d::ModelSpec;
using vp3d::Network;
using vp3d::Precision;

constexpr std::int64_t n_frames = 25;

const ModelSpec pose{{3, 3}, 12, 5, 2, 6, false};
const std::vector<Network> networks{{"pose", pose}, {"trajectory", {{3, 3}, 7, 5, 2, 1, false}}};

Tensors tensors_of(Precision precision) { return random_tensors(networks, precision, 1); }

std::string entry_of(const Network& network) {
  const ModelSpec& spec = network.spec;
  return '"' + network.name + R"(":{"filter_widths":[3,3],"channels":)" +
         std::to_string(spec.channels) + R"(,"joints_in":5,"joints_out":)" +
         std::to_string(spec.joints_out) + '}';
}

void write_bundle() {
  ::mkdir("net.vp3d", 0700);
  std::string files;
  for (const auto& [precision, name] : {std::pair(Precision::fp32, "weights.fp32.safetensors"),
                                        std::pair(Precision::fp16, "weights.fp16.safetensors")}) {
    const std::string bytes = file_of(tensors_of(precision));
    write_file(std::string("net.vp3d/") + name, bytes);
    files += std::string(files.empty() ? "\"" : ",\"") + name + R"(":{"bytes":)" +
             std::to_string(bytes.size()) + '}';
  }
  write_file("net.vp3d/manifest.json",
             R"({"format":"vp3d-bundle","schema":1,"networks":{)" + entry_of(networks[0]) + ',' +
                 entry_of(networks[1]) + R"(},"files":{)" + files + "}}");
}

// (n_frames, J_in * F)
std::vector<float> frames() {
  Random random(2);
  std::vector<float> values;
  for (std::int64_t i = 0; i < n_frames * pose.joints_in * pose.features; ++i)
    values.push_back(static_cast<float>(random.uniform(-1, 1)));
  return values;
}

void write_frames() {
  std::ofstream file("frames.txt");
  file << std::setprecision(9);
  const std::int64_t columns = pose.joints_in * pose.features;
  std::int64_t at = 0;
  for (const float value : frames()) file << value << (++at % columns ? ' ' : '\n');
}

// What the full network answers for `frame` when every frame after `frame + lag` is that one.
std::vector<double> expected_for(std::int64_t frame, std::int64_t lag, const Tensors& tensors) {
  const std::vector<float> seen = frames();
  const std::int64_t columns = pose.joints_in * pose.features, reach = pose.lookahead();
  std::vector<float> window;
  for (std::int64_t i = frame - reach; i <= frame + reach; ++i) {
    const std::int64_t newest = std::min(frame + lag, n_frames - 1);
    const auto at = seen.begin() + std::clamp<std::int64_t>(i, 0, newest) * columns;
    window.insert(window.end(), at, at + columns);
  }
  std::vector<double> answers;
  for (const Network& network : networks)
    for (const double value : Definition(network, tensors)(window)) answers.push_back(value);
  return answers;
}

void compare(const std::string& precision, const std::string& lag) {
  const Tensors tensors = tensors_of(precision == "fp16" ? Precision::fp16 : Precision::fp32);
  std::ifstream file("poses." + precision + "." + lag + ".txt");
  for (std::int64_t frame = 0; frame < n_frames; ++frame) {
    double worst = 0;
    for (const double value : expected_for(frame, std::stoll(lag), tensors)) {
      double found = NAN;
      file >> found;
      const double error = std::fabs(found - value);
      worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
    }
    check(worst < 1e-5, "frame " + std::to_string(frame) + " is off by " + std::to_string(worst),
          __FILE__, __LINE__);
  }
  std::string more;
  file >> more;
  CHECK_EQUAL(more, "");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "write") {
    write_bundle();
    write_frames();
    return 0;
  }
  if (arguments.size() == 3 && arguments[0] == "compare") {
    compare(arguments[1], arguments[2]);
    return vp3d::test::result();
  }
  std::cerr << "usage: test_live write | compare PRECISION LAG\n";
  return 2;
}
