// libFuzzer on the reader of weights: kernels/README.md says how to run it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "exercise.hpp"
#include "fuzz_seed.hpp"
#include "memory_file.hpp"
#include "safetensors_bytes.hpp"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t room, unsigned) {
  using vp3d::test::entry;
  static const std::string whole = vp3d::test::safetensors(
      "{\"__metadata__\":{\"a\":\"b\"}," + entry("a", "F32", "[2,3]", 0, 24) + "," +
          entry("b", "F16", "[2,2]", 24, 32) + "," + entry("c", "I8", "[]", 32, 33) + "}",
      33, 512);
  return vp3d::test::mutate_from(whole, data, size, room);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const vp3d::test::MemoryFile file(data, size);
  vp3d::test::exercise_safetensors(file.path());
  return 0;
}
