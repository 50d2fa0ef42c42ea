// A network's weights, packed for one instruction set and a number of threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layer.hpp"
#include "memory.hpp"
#include "safetensors.hpp"
#include "thread_pool.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::cpu {

// A layer, and which of its panels each thread computes.
struct Product {
  PackedLayer layer;
  std::vector<Share> shares;  // one for each thread
  std::int64_t panel_bytes = 0;
  std::int64_t answers = 0;  // rows that are not padding
};

struct PackedLevel {
  Product conv;
  Product mix;  // of no rows at level 0
};

struct PackedNetwork {
  ModelSpec spec;
  std::int64_t channels = 0;  // padded to whole panels: the length of a column
  std::vector<PackedLevel> levels;
  Product shrink;
};

// All networks of an engine. What a thread reads in one frame lies end to end: its panels of the
// first layer of every network, of the second, and so on.
class PackedWeights {
 public:
  // Throws WeightsError.
  PackedWeights(const SafetensorsFile& file, const std::vector<Network>& networks,
                Precision precision, const KernelSet& kernels, ThreadPool& pool);

  const std::vector<PackedNetwork>& networks() const { return networks_; }
  std::int64_t bytes() const { return weight_bytes_; }

 private:
  std::vector<PackedNetwork> networks_;
  Memory weights_;
  Memory vectors_;  // biases and scales
  std::int64_t weight_bytes_ = 0;
};

}  // namespace vp3d::cpu
