// libFuzzer on opening an engine: kernels/README.md says how to run it. The first byte chooses the
// precision.
#include <cstddef>
#include <cstdint>
#include <string>

#include "exercise.hpp"
#include "fuzz_seed.hpp"
#include "memory_file.hpp"
#include "reference_network.hpp"

namespace {

using vp3d::Precision;

const vp3d::Network network{"pose", {{3, 3}, 6, 2, 2, 2, false}};

std::string input_of(Precision precision) {
  return static_cast<char>(precision) +
         vp3d::test::file_of(vp3d::test::random_tensors({network}, precision, 1));
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t room, unsigned seed) {
  static const std::string whole[] = {input_of(Precision::fp32), input_of(Precision::fp16),
                                      input_of(Precision::int8)};
  return vp3d::test::mutate_from(whole[seed % 3], data, size, room);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const vp3d::test::MemoryFile file(data + 1, size - 1);
  vp3d::test::exercise_engine(file.path(), network, static_cast<Precision>(data[0] % 3));
  return 0;
}
