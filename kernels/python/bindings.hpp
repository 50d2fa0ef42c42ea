// The engine and its streams as Python sees them: arrays checked, the GIL released while they work,
// and use after close, or by two threads at once, refused. Behind vp3d_deploy/_native.pyi.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::python {

class PyStream {
 public:
  PyStream(Stream stream, std::vector<ModelSpec> specs);

  std::int64_t n_rows() const { return n_rows_; }
  std::int64_t lag() const { return lag_; }
  std::int64_t bytes_per_row();
  void add_rows(std::int64_t count);
  void remove_rows(const std::vector<std::int64_t>& rows);
  void step(nanobind::handle keypoints, nanobind::tuple answers);
  void prepare();
  void close();

 private:
  class Use;

  std::unique_ptr<Stream> stream_;  // null once closed
  std::vector<ModelSpec> specs_;
  std::atomic<bool> in_use_{false};
  std::atomic<std::int64_t> n_rows_{0};
  std::int64_t lag_;
  std::vector<float*> outputs_;  // of the step being taken
};

class PyEngine {
 public:
  // weights: str or os.PathLike. networks: objects like vp3d_deploy.spec.ModelSpec by name.
  PyEngine(nanobind::handle weights, nanobind::dict networks, const std::string& precision,
           int threads, bool pin_threads, const std::string& isa);

  std::string isa() const { return open()->isa(); }
  int threads() const { return open()->threads(); }
  std::int64_t weight_bytes() const { return open()->weight_bytes(); }
  void window(nanobind::handle keypoints, nanobind::tuple answers);
  void sequence(nanobind::handle keypoints, nanobind::tuple answers);
  std::unique_ptr<PyStream> open_stream(std::int64_t lag);

  // Calls that are under way in other threads end first; streams keep what they need.
  void close() { engine_.reset(); }

 private:
  // The engine, which thereby outlives the call. Throws RuntimeError once closed.
  std::shared_ptr<Engine> open() const;

  std::shared_ptr<Engine> engine_;
  std::vector<ModelSpec> specs_;
};

}  // namespace vp3d::python
