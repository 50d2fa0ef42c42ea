// What a live frame's answer needs that is known before the frame comes.
//
// A level's convolution reads the column of this frame and columns of frames long past. At full lag
// all taps but one are of the second kind, half of the bytes of a network of widths 3: once an answer
// is out, their products can be summed while the camera exposes its next frame, and the wait for
// that frame's answer covers the rest alone. Where the answer comes sooner, some columns read this
// frame more than once, so that all weights are read, but still for fewer products.
#pragma once

#include <cstdint>
#include <vector>

#include "forms.hpp"
#include "vp3d/plan.hpp"

namespace vp3d::cpu {

// One level of one network.
class AheadLevel {
 public:
  // The taps of `plan` on older frames. in_place_columns: of kernels that sum in two calls.
  AheadLevel(const PackedNetwork& network, std::size_t level, const LevelPlan& plan,
             std::int64_t in_place_columns);

  // Columns, the first of the plan, of which some taps are on older frames; none where `rows`
  // streams have more columns than the kernels sum in two calls.
  std::size_t columns() const { return rows_ > 0 ? older_.size() : 0; }
  // How many taps of a column, its first, are on older frames.
  std::int64_t taps(std::size_t column) const { return older_[column]; }

  // Space for so many streams. Sums that were there are gone.
  void resize(std::int64_t rows);
  // Where tap `tap` of a column of a stream reads.
  const void*& input(std::size_t column, std::size_t row, std::size_t tap);

  // The call that makes the sums.
  LayerCall sum() const;
  // Has a call of all the level's columns begin with the sums.
  void begin(LayerCall& call) const;
  // What makes it whole again.
  static void forget(LayerCall& call);

 private:
  const PackedLayer& layer_;
  const std::int64_t in_place_columns_, planned_;
  std::vector<std::int64_t> older_;  // by column
  std::int64_t rows_ = 0;
  Memory memory_;  // the sums of each column, and zeros for columns without any
  std::int64_t allocated_ = 0;
  // In the order of `sum`, the reverse of the plan's: what is left out at a tap are first columns.
  std::vector<const void*> inputs_;
  std::vector<void*> kept_;
  std::vector<std::int64_t> left_out_of_sum_;
  // In the order of the plan.
  std::vector<void*> first_;
  std::vector<std::int64_t> left_out_;
};

}  // namespace vp3d::cpu
