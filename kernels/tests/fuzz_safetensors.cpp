// libFuzzer on the reader of weights: kernels/README.md says how to run it.
#include <cstddef>
#include <cstdint>

#include "exercise.hpp"
#include "memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const vp3d::test::MemoryFile file(data, size);
  vp3d::test::exercise_safetensors(file.path());
  return 0;
}
