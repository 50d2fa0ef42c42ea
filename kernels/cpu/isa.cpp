#include "isa.hpp"

#include <stdexcept>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace vp3d::cpu {

std::vector<const KernelSet*> supported_kernels() {
  std::vector<const KernelSet*> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512vnni")) kernels.push_back(&avx512vnni_kernels());
  if (avx512) kernels.push_back(&avx512_kernels());
#ifdef VP3D_HAS_AVXVNNI
  if (avx2 && __builtin_cpu_supports("avxvnni")) kernels.push_back(&avxvnni_kernels());
#endif
  if (avx2) kernels.push_back(&avx2_kernels());
#elif defined(__aarch64__)
#ifdef __linux__
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) kernels.push_back(&neondot_kernels());
#endif
  kernels.push_back(&neon_kernels());
#endif
  kernels.push_back(&portable_kernels());
  return kernels;
}

const KernelSet& find_kernels(const std::string& name) {
  const std::vector<const KernelSet*> kernels = supported_kernels();
  std::string names;
  for (const KernelSet* set : kernels) {
    if (name == "auto" || name == set->name) return *set;
    names += names.empty() ? set->name : std::string(", ") + set->name;
  }
  throw std::invalid_argument("isa \"" + name + "\" is not at hand; this processor runs auto, " +
                              names);
}

}  // namespace vp3d::cpu
