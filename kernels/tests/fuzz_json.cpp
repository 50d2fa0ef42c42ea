// libFuzzer on the reader of JSON: kernels/README.md says how to run it.
#include <cstddef>
#include <cstdint>

#include "exercise.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vp3d::test::exercise_json({reinterpret_cast<const char*>(data), size});
  return 0;
}
