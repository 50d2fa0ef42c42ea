// What engines and images are made from, as Python hands it over. To be called with the GIL held.
#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <vector>

#include "processing.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::python {

// Throws std::invalid_argument for a name that is not known.
Precision precision_called(const std::string& name);

// Objects like vp3d_deploy.spec.ModelSpec by name, in their order.
std::vector<Network> networks_from(nanobind::dict networks);

// None, or an object like vp3d_deploy.engines.cuda_processing.Tables.
cuda::Processing processing_from(nanobind::handle object);

// str or os.PathLike.
std::string path_from(nanobind::handle object);

}  // namespace vp3d::python
