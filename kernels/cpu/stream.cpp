#include "stream.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace vp3d::cpu {
namespace {

std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// The oldest column of the level below that a level's residuals read.
std::int64_t oldest_residual(const ModelSpec& spec, const LevelPlan& plan, std::size_t level) {
  std::int64_t age = 0;
  for (const PlannedColumn& column : plan.columns)
    age = std::max(age, column.taps[static_cast<std::size_t>(spec.residual_tap(level))].age);
  return age;
}

}  // namespace

RowLayout::RowLayout(const std::vector<PackedNetwork>& networks, const StreamPlan& plan) {
  const auto take = [this](std::int64_t size) {
    const std::int64_t at = bytes;
    bytes += size;
    return at;
  };
  const ModelSpec& spec = networks[0].spec;
  input.column_bytes = aligned(spec.joints_in * spec.features * 4);
  input.ring_slots = plan.ring_lengths[0] + 1;
  input.ring = take(input.ring_slots * input.column_bytes);
  for (const PackedNetwork& network : networks) {
    auto& layouts = levels.emplace_back(network.levels.size());
    for (std::size_t level = 0; level < layouts.size(); ++level) {
      LevelLayout& at = layouts[level];
      const bool top = level + 1 == layouts.size();
      const std::int64_t ring = top ? 0 : plan.ring_lengths[level + 1];
      const bool quantised = output_is_quantised(network, level);
      at.column_bytes = aligned(network.channels * 4);
      // An 8-bit layer reads the quantised ring; only its residuals are float32.
      at.ring_slots =
          1 + (quantised ? oldest_residual(spec, plan.levels[level + 1], level + 1) : ring);
      at.ring = take(at.ring_slots * at.column_bytes);
      at.others = take(2 * at.column_bytes);
      if (quantised) {
        at.byte_column_bytes = aligned(network.channels);
        at.byte_ring_slots = 1 + ring;
        at.byte_ring = take(at.byte_ring_slots * at.byte_column_bytes);
        at.byte_others = take(2 * at.byte_column_bytes);
      }
      at.middle_bytes = middle_is_quantised(network, level) ? aligned(network.channels)
                                                            : at.column_bytes;
      at.middle = take(static_cast<std::int64_t>(plan.levels[level].columns.size()) *
                       at.middle_bytes);
    }
    answers.push_back(take(network.shrink.layer.rows * 4));
  }
}

}  // namespace vp3d::cpu

namespace vp3d::detail {

using cpu::LevelLayout;

StreamState::StreamState(std::shared_ptr<EngineState> engine, std::int64_t lag)
    : engine_(std::move(engine)),
      plan_(stream_plan(engine_->spec(), lag)),
      layout_(engine_->weights->networks(), plan_),
      passes_(engine_->weights->networks()),
      ahead_phases_(1) {
  for (const cpu::PackedNetwork& network : engine_->weights->networks()) {
    std::vector<cpu::AheadLevel>& levels = ahead_.emplace_back();
    for (std::size_t level = 0; level < plan_.levels.size(); ++level)
      levels.emplace_back(network, level, plan_.levels[level], engine_->kernels.in_place_columns);
  }
}

void StreamState::add_rows(std::int64_t count) {
  if (count < 0)
    throw std::invalid_argument("cannot add " + std::to_string(count) + " rows to a stream");
  std::vector<Row> added(static_cast<std::size_t>(count));
  for (Row& row : added) row.memory = cpu::allocate(layout_.bytes);
  rows_.reserve(rows_.size() + added.size());
  std::move(added.begin(), added.end(), std::back_inserter(rows_));
  if (count > 0) prepared_ = false;
}

void StreamState::remove_rows(const std::vector<std::int64_t>& rows) {
  std::vector<bool> gone(rows_.size(), false);
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= n_rows())
      throw std::out_of_range("row " + std::to_string(row) + " cannot be removed: there are " +
                              std::to_string(n_rows()) + " rows, counted from 0");
    gone[static_cast<std::size_t>(row)] = true;
  }
  if (!rows.empty()) prepared_ = false;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (!gone[i]) std::swap(rows_[kept++], rows_[i]);
  rows_.resize(kept);
}

std::byte* StreamState::column(const Row& row, std::size_t network, std::size_t level, Column kind,
                               bool quantised) const {
  const LevelLayout& at = layout_.levels[network][level];
  std::byte* memory = row.memory.get();
  const std::int64_t size = quantised ? at.byte_column_bytes : at.column_bytes;
  if (kind == Column::True) {
    const std::int64_t slots = quantised ? at.byte_ring_slots : at.ring_slots;
    return memory + (quantised ? at.byte_ring : at.ring) + row.frames % slots * size;
  }
  const std::int64_t others = quantised ? at.byte_others : at.others;
  return memory + others + (kind == Column::Straddling ? 0 : size);
}

std::byte* StreamState::below(const Row& row, std::size_t network, std::size_t level, Tap tap,
                              bool quantised) const {
  if (level > 0 && tap.age == 0) return column(row, network, level - 1, tap.column, quantised);
  // A stream begins as if its first frame had always been there: what is older than the stream is
  // the column of its first frame, which stays in its slot until nothing older is read.
  const std::int64_t frame = row.frames - std::min(tap.age, row.frames);
  const LevelLayout& at = level == 0 ? layout_.input : layout_.levels[network][level - 1];
  if (quantised)
    return row.memory.get() + at.byte_ring + frame % at.byte_ring_slots * at.byte_column_bytes;
  return row.memory.get() + at.ring + frame % at.ring_slots * at.column_bytes;
}

void StreamState::reserve() {
  if (reserved_ == rows_.size()) return;
  const std::int64_t n = n_rows();
  for (std::size_t phase = 0; phase <= passes_.shrink_phase(); ++phase) {
    const bool last = phase == passes_.shrink_phase();
    const std::size_t columns = last ? 1 : plan_.levels[(phase + 1) / 2].columns.size();
    passes_.resize(phase, n * static_cast<std::int64_t>(columns));
    for (std::size_t network = 0; network < layout_.levels.size(); ++network)
      passes_.set_columns(phase, network, n * static_cast<std::int64_t>(columns));
  }
  reserved_ = rows_.size();
}

void StreamState::point_level(std::size_t network, std::size_t level) {
  const cpu::PackedNetwork& packed = engine_->weights->networks()[network];
  const LevelLayout& layout = layout_.levels[network][level];
  const bool bytes_in = packed.levels[level].conv.layer.type == cpu::WeightType::i8;
  const bool bytes_out = cpu::output_is_quantised(packed, level);
  const auto residual = static_cast<std::size_t>(packed.spec.residual_tap(level));
  cpu::ColumnTable& conv = passes_.table(cpu::Passes::conv_phase(level), network);
  // Level 0 has no mix: its convolution makes the level's columns.
  cpu::ColumnTable& mix =
      passes_.table(level ? cpu::Passes::mix_phase(level) : 0, network);
  std::size_t n = 0, input = 0;
  const LevelPlan& plan = plan_.levels[level];
  for (std::size_t c = 0; c < plan.columns.size(); ++c) {
    const PlannedColumn& planned = plan.columns[c];
    for (const Row& row : rows_) {
      for (const Tap& tap : planned.taps)
        conv.inputs[input++] = below(row, network, level, tap, bytes_in);
      if (level > 0) {
        std::byte* middle =
            row.memory.get() + layout.middle + static_cast<std::int64_t>(c) * layout.middle_bytes;
        conv.outputs[n] = reinterpret_cast<float*>(middle);
        conv.quantised[n] = reinterpret_cast<std::uint8_t*>(middle);
        mix.inputs[n] = middle;
        mix.residuals[n] = reinterpret_cast<const float*>(
            below(row, network, level, planned.taps[residual], false));
      }
      mix.outputs[n] =
          reinterpret_cast<float*>(column(row, network, level, planned.kind, false));
      if (bytes_out)
        mix.quantised[n] =
            reinterpret_cast<std::uint8_t*>(column(row, network, level, planned.kind, true));
      ++n;
    }
  }
}

void StreamState::point_shrink(std::size_t network) {
  cpu::ColumnTable& shrink = passes_.table(passes_.shrink_phase(), network);
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    shrink.inputs[i] =
        column(rows_[i], network, plan_.levels.size() - 1, plan_.answer, false);
    shrink.outputs[i] =
        reinterpret_cast<float*>(rows_[i].memory.get() + layout_.answers[network]);
  }
}

void StreamState::point_ahead(std::size_t network, std::size_t level) {
  cpu::AheadLevel& ahead = ahead_[network][level];
  const bool bytes_in = engine_->weights->networks()[network].levels[level].conv.layer.type ==
                        cpu::WeightType::i8;
  for (std::size_t c = 0; c < ahead.columns(); ++c) {
    const std::vector<Tap>& taps = plan_.levels[level].columns[c].taps;
    for (std::size_t row = 0; row < rows_.size(); ++row)
      for (std::size_t tap = 0; tap < static_cast<std::size_t>(ahead.taps(c)); ++tap)
        ahead.input(c, row, tap) = below(rows_[row], network, level, taps[tap], bytes_in);
  }
}

void StreamState::prepare() {
  // What a stream's first frame reads as its past is that frame itself.
  const auto fresh = [](const Row& row) { return row.frames == 0; };
  if (prepared_ || rows_.empty() || std::any_of(rows_.begin(), rows_.end(), fresh)) return;
  const std::vector<cpu::PackedNetwork>& networks = engine_->weights->networks();
  cpu::Phase& phase = ahead_phases_[0];
  if (ahead_reserved_ != rows_.size()) {
    phase.products.clear();
    phase.calls.clear();
    for (std::size_t level = 0; level < plan_.levels.size(); ++level)
      for (std::size_t network = 0; network < networks.size(); ++network) {
        cpu::AheadLevel& ahead = ahead_[network][level];
        ahead.resize(n_rows());
        if (ahead.columns() == 0) continue;
        phase.products.push_back(&networks[network].levels[level].conv);
        phase.calls.push_back(ahead.sum());
      }
    ahead_reserved_ = rows_.size();
  }
  if (phase.products.empty()) return;
  for (std::size_t network = 0; network < networks.size(); ++network)
    for (std::size_t level = 0; level < plan_.levels.size(); ++level) point_ahead(network, level);
  engine_->run(ahead_phases_);
  prepared_ = true;
}

void StreamState::step(const float* keypoints, const std::vector<float*>& answers) {
  if (rows_.empty()) return;
  reserve();
  const ModelSpec& spec = engine_->spec();
  const auto frame = static_cast<std::size_t>(spec.joints_in * spec.features);
  const LevelLayout& input = layout_.input;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const std::int64_t slot = rows_[i].frames % input.ring_slots;
    std::memcpy(rows_[i].memory.get() + input.ring + slot * input.column_bytes,
                keypoints + i * frame, frame * sizeof(float));
  }
  const std::vector<cpu::PackedNetwork>& networks = engine_->weights->networks();
  for (std::size_t network = 0; network < networks.size(); ++network) {
    for (std::size_t level = 0; level < plan_.levels.size(); ++level) {
      point_level(network, level);
      cpu::LayerCall& conv = passes_.call(cpu::Passes::conv_phase(level), network);
      if (prepared_ && ahead_[network][level].columns() > 0) ahead_[network][level].begin(conv);
      else cpu::AheadLevel::forget(conv);
    }
    point_shrink(network);
  }
  engine_->run(passes_.phases());
  prepared_ = false;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    for (std::size_t network = 0; network < networks.size(); ++network) {
      const auto size = static_cast<std::size_t>(networks[network].shrink.answers);
      std::memcpy(answers[network] + i * size, rows_[i].memory.get() + layout_.answers[network],
                  size * sizeof(float));
    }
    ++rows_[i].frames;
  }
}

}  // namespace vp3d::detail
