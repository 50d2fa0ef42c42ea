#include "ahead.hpp"

#include <algorithm>

namespace vp3d::cpu {

AheadLevel::AheadLevel(const PackedNetwork& network, std::size_t level, const LevelPlan& plan,
                       std::int64_t in_place_columns)
    : layer_(network.levels[level].conv.layer),
      in_place_columns_(in_place_columns),
      planned_(static_cast<std::int64_t>(plan.columns.size())) {
  if (level == 0) return;  // a hundredth of the work, and its input is short
  for (const PlannedColumn& column : plan.columns) {
    // Taps go from the past on, and so do columns: true, straddling, constant.
    const auto now = std::find_if(column.taps.begin(), column.taps.end(),
                                  [](const Tap& tap) { return tap.age == 0; });
    std::int64_t taps = now - column.taps.begin();
    if (!older_.empty()) taps = std::min(taps, older_.back());
    if (taps == 0) break;
    older_.push_back(taps);
  }
}

void AheadLevel::resize(std::int64_t rows) {
  rows_ = !older_.empty() && planned_ * rows <= in_place_columns_ ? rows : 0;
  if (rows_ == 0) return;
  const auto n_rows = static_cast<std::size_t>(rows);
  const std::size_t n = older_.size() * n_rows;
  const auto taps = static_cast<std::size_t>(layer_.taps);
  const std::int64_t bytes = layer_.rows * 4;
  if (const std::int64_t wanted = (static_cast<std::int64_t>(n) + 1) * bytes; allocated_ < wanted) {
    memory_ = allocate(wanted);
    allocated_ = wanted;
  }
  inputs_.assign(n * taps, nullptr);
  kept_.resize(n);
  first_.assign(static_cast<std::size_t>(planned_ * rows), memory_.get());  // zeros
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t column = i / n_rows, row = i % n_rows;
    first_[i] = memory_.get() + static_cast<std::int64_t>(i + 1) * bytes;
    kept_[(older_.size() - 1 - column) * n_rows + row] = first_[i];
  }
  left_out_.clear();
  left_out_of_sum_.clear();
  for (std::int64_t tap = 0; tap < layer_.taps; ++tap) {
    const std::int64_t older =
        std::count_if(older_.begin(), older_.end(), [tap](std::int64_t n) { return n > tap; });
    left_out_.push_back(older * rows);
    left_out_of_sum_.push_back((static_cast<std::int64_t>(older_.size()) - older) * rows);
  }
}

const void*& AheadLevel::input(std::size_t column, std::size_t row, std::size_t tap) {
  const std::size_t at = (older_.size() - 1 - column) * static_cast<std::size_t>(rows_) + row;
  return inputs_[at * static_cast<std::size_t>(layer_.taps) + tap];
}

LayerCall AheadLevel::sum() const {
  LayerCall call;
  call.layer = &layer_;
  call.n_columns = static_cast<std::int64_t>(kept_.size());
  call.inputs = inputs_.data();
  call.left_out = left_out_of_sum_.data();
  call.kept_sums = kept_.data();
  return call;
}

void AheadLevel::begin(LayerCall& call) const {
  call.left_out = left_out_.data();
  call.first_sums = first_.data();
}

void AheadLevel::forget(LayerCall& call) { call.left_out = nullptr, call.first_sums = nullptr; }

}  // namespace vp3d::cpu
