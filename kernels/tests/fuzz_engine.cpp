// libFuzzer on opening an engine: kernels/README.md says how to run it. The first byte chooses the
// precision. Whole files, whose headers a fuzzer does not find by itself, are where it starts.
#include <cstddef>
#include <cstdint>
#include <string>

#include "exercise.hpp"
#include "memory_file.hpp"
#include "reference_network.hpp"

namespace {

const vp3d::Network network{"pose", {{3, 3}, 6, 2, 2, 2, false}};

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t room, unsigned seed) {
  if (size < 100) {
    const auto precision = static_cast<vp3d::Precision>(seed % 3);
    const std::string bytes =
        vp3d::test::file_of(vp3d::test::random_tensors({network}, precision, 1));
    if (bytes.size() + 1 <= room) {
      data[0] = static_cast<std::uint8_t>(seed % 3);
      bytes.copy(reinterpret_cast<char*>(data + 1), bytes.size());
      size = bytes.size() + 1;
    }
  }
  return LLVMFuzzerMutate(data, size, room);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const vp3d::test::MemoryFile file(data + 1, size - 1);
  vp3d::test::exercise_engine(file.path(), network, static_cast<vp3d::Precision>(data[0] % 3));
  return 0;
}
