// Lifts a live stream of one person with a bundle that vp3d-export wrote:
//
//   live walker.vp3d [fp32|fp16|int8 [LAG]] < frames.txt > poses.txt
//
// frames.txt: a line for each frame, x and y of every joint (of a network that reads scores: x, y,
// score) in normalised screen units: x from -1 at the left edge of the image to 1 at the right, y
// downwards on the same scale, 0 in the middle. poses.txt: a line for each frame, x, y and z of
// every joint in metres, camera frame, root-relative; then of the root, where the bundle has a
// trajectory network. Answers trail by LAG frames; once the input ends, the last ones are given.
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "vp3d/bundle.hpp"
#include "vp3d/engine.hpp"

namespace {

vp3d::Precision precision_called(const std::string& name) {
  if (name == "fp32") return vp3d::Precision::fp32;
  if (name == "fp16") return vp3d::Precision::fp16;
  if (name == "int8") return vp3d::Precision::int8;
  throw std::invalid_argument("precision " + name + " is not known; choose fp32, fp16 or int8");
}

std::vector<float> frame_from(const std::string& line, std::size_t expected) {
  std::vector<float> frame;
  std::istringstream numbers(line);
  for (float number = 0; numbers >> number;) frame.push_back(number);
  if (!numbers.eof() || frame.size() != expected)
    throw std::invalid_argument("a frame has " + std::to_string(expected) + " numbers, not \"" +
                                line.substr(0, 60) + '"');
  return frame;
}

// One stream with one row, and arrays for its answers.
class Live {
 public:
  Live(vp3d::Engine& engine, const std::vector<vp3d::Network>& networks, std::int64_t lag)
      : stream_(engine.open_stream(lag)), lag_(lag) {
    stream_.add_rows(1);
    for (const vp3d::Network& network : networks)
      answers_.emplace_back(static_cast<std::size_t>(network.spec.joints_out * 3));
    for (std::vector<float>& answer : answers_) pointers_.push_back(answer.data());
  }

  // Show the next frame and write the answer that comes out.
  void push(const std::vector<float>& frame) {
    stream_.step(frame.data(), pointers_);
    // The first answers are for times before the first frame.
    if (++pushed_ <= lag_) return;
    const char* before = "";
    for (const std::vector<float>& answer : answers_) {
      for (const float value : answer) {
        std::cout << before << value;
        before = " ";
      }
    }
    std::cout << std::endl;  // and not later: someone waits for it
  }

  // Uses the time until the next line.
  void prepare() { stream_.prepare(); }

 private:
  vp3d::Stream stream_;
  const std::int64_t lag_;
  std::int64_t pushed_ = 0;
  std::vector<std::vector<float>> answers_;  // of each network
  std::vector<float*> pointers_;
};

void run(const std::string& bundle, vp3d::Precision precision, std::int64_t lag) {
  const std::vector<vp3d::Network> networks = vp3d::read_networks(bundle);
  vp3d::Engine engine = vp3d::open_bundle(bundle, precision);
  std::cerr << "isa " << engine.isa() << ", threads " << engine.threads() << '\n';
  const vp3d::ModelSpec& spec = networks.front().spec;
  Live live(engine, networks, lag);
  std::cout << std::setprecision(9);
  std::vector<float> frame;
  for (std::string line; std::getline(std::cin, line);) {
    frame = frame_from(line, static_cast<std::size_t>(spec.joints_in * spec.features));
    live.push(frame);
    live.prepare();
  }
  // What is still out is the answers to the end of a clip whose last frame stays.
  for (std::int64_t i = 0; i < lag && !frame.empty(); ++i) live.push(frame);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::cerr << "usage: live BUNDLE.vp3d [fp32|fp16|int8 [LAG]] < frames.txt > poses.txt\n";
    return 2;
  }
  try {
    run(argv[1], precision_called(argc > 2 ? argv[2] : "fp32"), argc > 3 ? std::stoll(argv[3]) : 0);
  } catch (const std::exception& error) {
    std::cerr << "live: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
