// Which kernels there are, and which of them this processor runs.
#pragma once

#include <string>
#include <vector>

#include "layer.hpp"

namespace vp3d::cpu {

const KernelSet& portable_kernels();
const KernelSet& avx2_kernels();
const KernelSet& avxvnni_kernels();
const KernelSet& avx512_kernels();
const KernelSet& avx512vnni_kernels();
const KernelSet& avx512vnni_zen4_kernels();
const KernelSet& neon_kernels();
const KernelSet& neondot_kernels();

// Those that this processor runs, best first; the portable ones are always last.
std::vector<const KernelSet*> supported_kernels();

// "auto" for the best, or a name. Throws std::invalid_argument for one that is not at hand.
const KernelSet& find_kernels(const std::string& name);

}  // namespace vp3d::cpu
