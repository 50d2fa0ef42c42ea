// Live streams: what each row keeps between frames, and the columns of a frame.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ahead.hpp"
#include "forms.hpp"
#include "vp3d/plan.hpp"

namespace vp3d::cpu {

// Where the columns of one level of one network lie within a row's memory, in bytes.
struct LevelLayout {
  std::int64_t ring = 0, ring_slots = 0;            // float32
  std::int64_t byte_ring = 0, byte_ring_slots = 0;  // quantised, where an 8-bit layer reads them
  std::int64_t others = 0, byte_others = 0;         // the straddling and the constant column
  std::int64_t middle = 0;                          // between convolution and mix
  std::int64_t column_bytes = 0, byte_column_bytes = 0, middle_bytes = 0;
};

struct RowLayout {
  LevelLayout input;
  std::vector<std::vector<LevelLayout>> levels;  // by network, by level
  std::vector<std::int64_t> answers;             // by network
  std::int64_t bytes = 0;

  RowLayout(const std::vector<PackedNetwork>& networks, const StreamPlan& plan);
};

}  // namespace vp3d::cpu

namespace vp3d::detail {

class StreamState {
 public:
  StreamState(std::shared_ptr<EngineState> engine, std::int64_t lag);

  const EngineState& engine() const { return *engine_; }
  std::int64_t n_rows() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t lag() const { return plan_.lag; }
  std::int64_t bytes_per_row() const { return layout_.bytes; }
  void add_rows(std::int64_t count);
  void remove_rows(const std::vector<std::int64_t>& rows);
  void step(const float* keypoints, const std::vector<float*>& answers);
  void prepare();

 private:
  struct Row {
    cpu::Memory memory;
    std::int64_t frames = 0;  // seen before this one
  };

  void reserve();
  void point_level(std::size_t network, std::size_t level);
  void point_shrink(std::size_t network);
  void point_ahead(std::size_t network, std::size_t level);
  // A column that level `level` reads, float32 or quantised; level 0 reads the input.
  std::byte* below(const Row& row, std::size_t network, std::size_t level, Tap tap,
                   bool quantised) const;
  // A column of level `level` itself.
  std::byte* column(const Row& row, std::size_t network, std::size_t level, Column kind,
                    bool quantised) const;

  std::shared_ptr<EngineState> engine_;
  StreamPlan plan_;
  cpu::RowLayout layout_;
  cpu::Passes passes_;
  std::vector<Row> rows_;
  std::size_t reserved_ = 0;  // rows that the passes' tables have room for
  std::vector<std::vector<cpu::AheadLevel>> ahead_;  // by network, by level
  std::vector<cpu::Phase> ahead_phases_;             // one, of all levels with columns
  std::size_t ahead_reserved_ = 0;
  bool prepared_ = false;  // the sums are those of the next frame
};

}  // namespace vp3d::detail
