// Open an engine on a bundle, the directory that vp3d-export writes:
//
//   vp3d::Engine engine = vp3d::open_bundle("walker.vp3d", vp3d::Precision::fp16);
//
// The manifest is checked, and that the weights have the size that it names. The SHA-256 of files
// is not: `Bundle.open` of the Python package does that.
#pragma once

#include <string>
#include <vector>

#include "vp3d/engine.hpp"

namespace vp3d {

// The networks of the bundle, "pose" and, where there is one, "trajectory", in the order in which
// an engine on it answers. Throws WeightsError, one sentence that names the file, for a directory
// that is no bundle, or a damaged manifest.
std::vector<Network> read_networks(const std::string& bundle);

// The path of the bundle's weights. Throws WeightsError also where it has none of this precision.
std::string weights_path(const std::string& bundle, Precision precision);

Engine open_bundle(const std::string& bundle, Precision precision, EngineOptions options = {});

}  // namespace vp3d
