// Which columns of the network a live stream computes per frame. The theory is told in
// vp3d_deploy/plan.py; this computes the same plan without Python, and
// kernels/tests/stream_plans.txt holds both to the same answers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "vp3d/spec.hpp"

namespace vp3d {

// The kinds of column computed anew for each frame, in the order in which they are stored.
enum class Column { True = 0, Straddling = 1, Constant = 2 };

constexpr std::array<Column, 3> all_columns{Column::True, Column::Straddling, Column::Constant};

// Where one tap reads in the level below: in a column of this frame (age 0), or in the ring, the
// true column of `age` frames ago.
struct Tap {
  Column column = Column::True;
  std::int64_t age = 0;
};

struct PlannedColumn {
  Column kind;
  std::vector<Tap> taps;
};

struct LevelPlan {
  std::vector<PlannedColumn> columns;
};

struct StreamPlan {
  std::vector<LevelPlan> levels;           // in order of evaluation
  std::vector<std::int64_t> ring_lengths;  // of the input, then of each level below the top
  Column answer = Column::True;            // of the top level
  std::int64_t lag = 0;
};

namespace detail {

struct Place {
  Column kind;
  std::int64_t age;
};

// The kind of the column at `offset` from the newest frame, in a level of half receptive field
// `reach`, and how many frames ago it was new.
inline Place classify(std::int64_t offset, std::int64_t reach) {
  if (offset <= -reach) return {Column::True, -reach - offset};
  if (offset >= reach) return {reach == 0 ? Column::True : Column::Constant, 0};
  return {Column::Straddling, 0};
}

class Planner {
 public:
  Planner(const ModelSpec& spec, std::int64_t lag)
      : spec_(spec),
        dilations_(spec.dilations()),
        wanted_(spec.filter_widths.size() + 1),
        straddling_(spec.filter_widths.size() + 1) {
    for (const std::int64_t dilation : dilations_)
      reach_.push_back(spec.causal ? 0 : (dilation - 1) / 2);
    reach_.push_back(spec.causal ? 0 : (spec.receptive_field() - 1) / 2);
    plan_.lag = lag;
    plan_.levels.resize(spec.filter_widths.size());
    plan_.ring_lengths.resize(spec.filter_widths.size(), 0);
  }

  StreamPlan run() {
    const std::size_t top = spec_.filter_widths.size();
    plan_.answer = classify(-plan_.lag, reach_[top]).kind;
    if (plan_.answer == Column::Straddling) straddling_[top] = -plan_.lag;
    want(top, plan_.answer);
    for (std::size_t level = top; level > 0; --level) plan_level(level);
    return plan_;
  }

 private:
  // Columns of the level whose filter is number `level - 1`; it reads level `level - 1`.
  void plan_level(std::size_t level) {
    const std::size_t below = level - 1;
    for (const Column kind : all_columns) {
      if (!wanted_[level][static_cast<std::size_t>(kind)]) continue;
      PlannedColumn column{kind, {}};
      std::int64_t offset = first_tap(below, kind, level);
      for (std::int64_t tap = 0; tap < spec_.filter_widths[below]; ++tap) {
        column.taps.push_back(read(below, offset));
        offset += dilations_[below];
      }
      plan_.levels[below].columns.push_back(std::move(column));
    }
    // A ring is fed by the level's true column, so that has to be computed every frame.
    if (plan_.ring_lengths[below] > 0) want(below, Column::True);
  }

  std::int64_t first_tap(std::size_t below, Column kind, std::size_t level) const {
    const std::int64_t dilation = dilations_[below];
    std::int64_t centre = -reach_[level];
    if (kind == Column::Constant)
      centre = reach_[level] + (spec_.filter_widths[below] - 1) * dilation;
    if (kind == Column::Straddling) centre = straddling_[level].value();
    return centre - spec_.residual_tap(below) * dilation;
  }

  Tap read(std::size_t below, std::int64_t offset) {
    const Place place = classify(offset, reach_[below]);
    if (place.kind == Column::Straddling) {
      if (straddling_[below].value_or(offset) != offset)
        throw std::logic_error("two straddling columns at one level");
      straddling_[below] = offset;
    }
    if (place.age == 0) want(below, place.kind);
    plan_.ring_lengths[below] = std::max(plan_.ring_lengths[below], place.age);
    return {place.kind, place.age};
  }

  void want(std::size_t level, Column kind) {
    wanted_[level][static_cast<std::size_t>(kind)] = true;
  }

  const ModelSpec& spec_;
  std::vector<std::int64_t> dilations_;
  std::vector<std::int64_t> reach_;
  std::vector<std::array<bool, 3>> wanted_;
  std::vector<std::optional<std::int64_t>> straddling_;
  StreamPlan plan_;
};

}  // namespace detail

// Plan a stream whose answers trail the newest frame by `lag` frames, 0 .. spec.lookahead().
// Throws std::invalid_argument for another lag or an impossible spec.
inline StreamPlan stream_plan(const ModelSpec& spec, std::int64_t lag) {
  spec.validate();
  if (lag < 0 || lag > spec.lookahead())
    throw std::invalid_argument("lag " + std::to_string(lag) + ": this network can trail by 0 to " +
                                std::to_string(spec.lookahead()) + " frames");
  return detail::Planner(spec, lag).run();
}

}  // namespace vp3d
