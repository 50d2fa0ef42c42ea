// How threads share out the products of a pass.
//
// Each thread has panels of its own, whose weights lie end to end, and takes them a few at a time.
// One that is done takes those that are left of its neighbours: cores are seldom equally fast, and
// what waits at a barrier is lost. Answers do not depend on who computes what.
#pragma once

#include <cstdint>
#include <vector>

#include "isa.hpp"
#include "network.hpp"

namespace vp3d::cpu {

// The products that may run at the same time, one for each network.
struct Phase {
  std::vector<const Product*> products;
  std::vector<LayerCall> calls;
};

class WorkSharing {
 public:
  WorkSharing(const KernelSet& kernels, ThreadPool& pool,
              const std::vector<PackedNetwork>& networks);

  // Runs all phases, each once every thread is done with the one before.
  void run(const std::vector<Phase>& phases);

 private:
  bool reads_in_place(const LayerCall& call) const {
    return call.n_columns <= kernels_.in_place_columns;
  }
  void run_in_place(const Phase& phase, int thread);
  void run_packed(const Product& product, const LayerCall& call, int thread);
  // Calls compute(owner, unit) for units that `thread` takes, its own first. units_of(owner): how
  // many there are of a thread's.
  template <class Units, class Compute>
  void take_units(int thread, const Units& units_of, const Compute& compute);

  const KernelSet& kernels_;
  ThreadPool& pool_;
  Memory packed_;                // a chunk's columns, for all threads; few columns need none
  std::vector<Memory> scratch_;  // of each thread
};

}  // namespace vp3d::cpu
