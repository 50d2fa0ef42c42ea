// What the three forms share: an engine's parts, and a list of products that threads work through.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "work_sharing.hpp"

namespace vp3d::cpu {

// Pointers to the columns of one product, set before each pass. Sized once for `capacity` columns.
struct ColumnTable {
  std::vector<const void*> inputs;
  std::vector<const float*> residuals;
  std::vector<float*> outputs;
  std::vector<std::uint8_t*> quantised;

  void resize(std::int64_t capacity, std::int64_t taps);
};

// The passes of one form of one or more networks, in order.
class Passes {
 public:
  // Phase 0 is level 0's convolution, 2k-1 and 2k are level k's convolution and mix, the last is
  // shrink; one product of each network in every phase.
  explicit Passes(const std::vector<PackedNetwork>& networks);

  static std::size_t conv_phase(std::size_t level) { return level == 0 ? 0 : 2 * level - 1; }
  static std::size_t mix_phase(std::size_t level) { return 2 * level; }
  std::size_t shrink_phase() const { return phases_.size() - 1; }

  void resize(std::size_t phase, std::int64_t capacity);
  ColumnTable& table(std::size_t phase, std::size_t network) { return tables_[phase][network]; }
  LayerCall& call(std::size_t phase, std::size_t network) { return phases_[phase].calls[network]; }
  // The table's first `n` columns are this pass's.
  void set_columns(std::size_t phase, std::size_t network, std::int64_t n);

  const std::vector<Phase>& phases() const { return phases_; }

 private:
  const std::vector<PackedNetwork>& networks_;
  std::vector<Phase> phases_;
  std::vector<std::vector<ColumnTable>> tables_;  // by phase, by network
};

// Does a level's output feed an 8-bit convolution, and the middle of a level an 8-bit mix?
bool output_is_quantised(const PackedNetwork& network, std::size_t level);
bool middle_is_quantised(const PackedNetwork& network, std::size_t level);

}  // namespace vp3d::cpu

namespace vp3d::detail {

class WindowRun;

// The space of the last call's windows, for the next one: making it costs as much as a window. It is
// taken and put back without a lock, because a child of fork() would wait for the holder for ever.
class SpareWindowRun {
 public:
  ~SpareWindowRun();
  // One that is large enough for so many windows at a time, or none.
  std::unique_ptr<WindowRun> take(std::int64_t windows);
  void put_back(std::unique_ptr<WindowRun> run);

 private:
  std::atomic<WindowRun*> run_{nullptr};
};

class EngineState {
 public:
  EngineState(const std::string& weights_file, std::vector<Network> networks, Precision precision,
              const EngineOptions& options);

  void run(const std::vector<cpu::Phase>& phases) { work_->run(phases); }

  const ModelSpec& spec() const { return weights->networks()[0].spec; }

  const cpu::KernelSet& kernels;
  const std::string isa;
  std::shared_ptr<cpu::ThreadPool> pool;
  std::unique_ptr<cpu::PackedWeights> weights;
  SpareWindowRun spare_window_run;

 private:
  std::unique_ptr<cpu::WorkSharing> work_;
};

void run_window(EngineState& engine, const float* keypoints, std::int64_t batch,
                const std::vector<float*>& answers);
void run_sequence(EngineState& engine, const float* keypoints, std::int64_t batch,
                  std::int64_t frames, const std::vector<float*>& answers);

}  // namespace vp3d::detail
