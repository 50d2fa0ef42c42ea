// Processing (processing.hpp) checked, and as kernels see it.
#pragma once

#include <vector>

#include "processing.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::cuda {

// Throws std::invalid_argument for what these networks cannot be surrounded by.
void check_processing(const Processing& processing, const std::vector<Network>& networks);

// Without the offsets, which depend on the image.
ProcessingTables processing_tables(const Processing& processing,
                                   const std::vector<Network>& networks);

}  // namespace vp3d::cuda
