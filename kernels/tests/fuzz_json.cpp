// libFuzzer on the reader of JSON: kernels/README.md says how to run it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "exercise.hpp"
#include "fuzz_seed.hpp"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t room, unsigned) {
  static const std::string whole =
      R"({"format":"vp3d-bundle","networks":{"pose":{"filter_widths":[3,3,3],"x":-1.5e3}},)"
      R"("files":{"a":{"bytes":123,"sha256":"\u00e9\ud83d\ude00"}},"b":[true,false,null,[],{}]})";
  return vp3d::test::mutate_from(whole, data, size, room);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vp3d::test::exercise_json({reinterpret_cast<const char*>(data), size});
  return 0;
}
