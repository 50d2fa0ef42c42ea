// Run a VideoPose3D network on the CPU: windows, whole clips, and live streams at any lag.
//
//   vp3d::Engine engine("demo.vp3d/weights.fp32.safetensors", {{"pose", spec}},
//                       vp3d::Precision::fp32);
//   vp3d::Stream stream = engine.open_stream(/*lag=*/0);
//   stream.add_rows(1);
//   stream.step(keypoints, {pose});   // one frame in, one pose out
//
// Arrays are dense, float32, in the order of the last axis first: keypoints in normalised screen
// units, poses in metres, camera frame, root-relative. How it works: docs/native-engine.md.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "vp3d/spec.hpp"

namespace vp3d {

// The type of the weights of the inner levels: a file's first level and `shrink` are always fp32.
enum class Precision { fp32, fp16, int8 };

// Thrown for files that are damaged or do not hold the network that was asked for.
class WeightsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One network of a weights file, whose tensors are called NAME.level0.conv.weight and so on
// (export/vp3d_export/fold.py lists them).
struct Network {
  std::string name;
  ModelSpec spec;
};

struct EngineOptions {
  int threads = 0;           // how many one call may use; 0 is one per core at hand
  bool pin_threads = false;  // keep each thread on a core of its own; the caller's stays free
  std::string isa = "auto";  // or one of `available_isas()`
};

// Instruction sets that this build has kernels for and this processor runs, best first.
std::vector<std::string> available_isas();

namespace detail {
class EngineState;
class StreamState;
}  // namespace detail

// Any number of live streams, one row each, that advance together and share each pass over the
// weights. Its calls must not overlap; those of different streams may.
class Stream {
 public:
  explicit Stream(std::unique_ptr<detail::StreamState> state);
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  std::int64_t n_rows() const;
  std::int64_t lag() const;

  // Bytes that one row keeps between frames.
  std::int64_t bytes_per_row() const;

  // Append streams that have seen nothing: they start as if their first frame had been shown
  // forever. Throws std::invalid_argument for a negative count.
  void add_rows(std::int64_t count);

  // Forget these rows, in any order; the later ones move up. Throws std::out_of_range for a row
  // that is not there, and then removes none.
  void remove_rows(const std::vector<std::int64_t>& rows);

  // One frame of every stream: keypoints (n_rows, J_in, F); one array (n_rows, J_out, 3) for each
  // network of the engine, in its order, for the frame `lag` frames ago. Allocates nothing once a
  // first step has been taken with as many rows.
  void step(const float* keypoints, const std::vector<float*>& answers);

  // Computes what the next frame's answers need of the frames so far, so that the next step has less
  // to do: at full lag half. For the time between an answer and the camera's next frame; the answers
  // are the same but for rounding. Does nothing for so many streams that weights are read in blocks,
  // and while a stream has not seen its first frame. Allocates on the first call with as many rows.
  void prepare();

 private:
  std::unique_ptr<detail::StreamState> state_;
};

// Packed weights and threads. Its calls, and those of its streams, are safe from any thread; they
// take turns. A stream keeps what it needs of its engine alive.
class Engine {
 public:
  // networks: all reading the same frames: equal widths, `causal`, joints in and features.
  // Throws WeightsError, or std::invalid_argument for impossible specs and options.
  Engine(const std::string& weights_file, std::vector<Network> networks, Precision precision,
         EngineOptions options = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  const std::string& isa() const;  // one of available_isas()
  int threads() const;
  std::int64_t weight_bytes() const;  // read by one frame

  // keypoints (batch, R, J_in, F) -> one array (batch, J_out, 3) for each network.
  void window(const float* keypoints, std::int64_t batch, const std::vector<float*>& answers);

  // keypoints (batch, frames, J_in, F), padded, frames >= R -> (batch, frames-R+1, J_out, 3).
  // Throws std::invalid_argument for fewer frames.
  void sequence(const float* keypoints, std::int64_t batch, std::int64_t frames,
                const std::vector<float*>& answers);

  // Throws std::invalid_argument for a lag that the network cannot have.
  Stream open_stream(std::int64_t lag);

 private:
  std::shared_ptr<detail::EngineState> state_;
};

}  // namespace vp3d
