// What surrounds the network in a step of live streams: the first and the last stage, where an image
// was built with Processing. One number is one thread's.
#pragma once

#include "program.hpp"

namespace vp3d::cuda {

VP3D_HD int prepared_numbers(const Launch& launch) {
  const ProcessingTables& tables = launch.header().processing;
  return launch.rows() * tables.joints_in * tables.features;
}

// To the columns at `to`, or each to its stream's place.
VP3D_HD void prepare_number(const Launch& launch, int index, std::byte* to) {
  const Image& header = launch.header();
  const ProcessingTables& tables = header.processing;
  const int width = tables.joints_in * tables.features;
  const int row = index / width, within = index % width;
  std::byte* column = to != nullptr ? to + row * header.prepared_bytes
                                    : launch.place(launch.row(row)) + header.prepared;
  reinterpret_cast<float*>(column)[within] = prepared_value(
      tables, launch.table<std::int32_t>(tables.joints), launch.table<float>(tables.shares),
      *launch.view(row), reinterpret_cast<const float*>(launch.seen(row)),
      within / tables.features, within % tables.features);
}

VP3D_HD int finished_numbers(const Launch& launch) {
  return launch.rows() * launch.header().answer_floats;
}

// The trajectory is added to every joint but its own.
VP3D_HD void finish_number(const Launch& launch, int index) {
  const Image& header = launch.header();
  const ProcessingTables& tables = header.processing;
  const int row = index / header.answer_floats, within = index % header.answer_floats;
  const auto* raw =
      reinterpret_cast<const float*>(launch.place(launch.row(row)) + header.raw_answer);
  const float* root = within < tables.trajectory ? raw + tables.trajectory : nullptr;
  const View* view = tables.to_world != 0 ? launch.view(row) : nullptr;
  launch.answers[index] =
      finished_value(tables, view, raw + within / 3 * 3, root, within % 3);
}

}  // namespace vp3d::cuda
