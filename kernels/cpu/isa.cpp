#include "isa.hpp"

#include <stdexcept>
#include <utility>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace vp3d::cpu {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows these two names.
static bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1U << 29)) != 0;
}

[[maybe_unused]] static bool has_avxvnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1U << 4)) != 0;
}

// Zen 4 executes instructions of 512 bits as two of 256. Its family is 19h, as Zen 3's, which has
// none.
[[maybe_unused]] static bool is_zen4() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) == 0 || b != 0x68747541U) return false;  // "Auth"enticAMD
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (a >> 8 & 0xFU) + (a >> 20 & 0xFFU) == 0x19U;
}
#endif

// VP3D_KERNELS_NAME says that the compiler knew that instruction set (cmake/InstructionSets.cmake).
std::vector<const KernelSet*> supported_kernels() {
  std::vector<const KernelSet*> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  [[maybe_unused]] const bool avx2 = __builtin_cpu_supports("avx2") &&
                                     __builtin_cpu_supports("fma") && has_f16c();
  [[maybe_unused]] const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#ifdef VP3D_KERNELS_AVX512VNNI
  if (avx512 && __builtin_cpu_supports("avx512vnni")) {
    kernels = {&avx512vnni_kernels(), &avx512vnni_zen4_kernels()};
    if (is_zen4()) std::swap(kernels[0], kernels[1]);
  }
#endif
#ifdef VP3D_KERNELS_AVX512
  if (avx512) kernels.push_back(&avx512_kernels());
#endif
#ifdef VP3D_KERNELS_AVXVNNI
  if (avx2 && has_avxvnni()) kernels.push_back(&avxvnni_kernels());
#endif
#ifdef VP3D_KERNELS_AVX2
  if (avx2) kernels.push_back(&avx2_kernels());
#endif
#elif defined(__aarch64__)
#if defined(VP3D_KERNELS_NEONDOT) && defined(__linux__)
  // Its files are compiled for ARMv8.2, which brings the atomics of 8.1.
  constexpr unsigned long kNeeded = HWCAP_ASIMDDP | HWCAP_ATOMICS;
  if ((getauxval(AT_HWCAP) & kNeeded) == kNeeded) kernels.push_back(&neondot_kernels());
#endif
#ifdef VP3D_KERNELS_NEON
  kernels.push_back(&neon_kernels());
#endif
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
