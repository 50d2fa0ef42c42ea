// Runs a fuzzer's entry where the compiler has no libFuzzer, with two of its options:
//
//   fuzz_engine [-max_total_time=SECONDS] [-seed=NUMBER]
//
// Nothing guides it: it starts from the whole files that a fuzzer's own mutator makes of nothing,
// and damages each a few times. Clang's libFuzzer looks much further.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "mutate.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t room, unsigned seed);

namespace {

constexpr std::size_t room = 1 << 20;
std::uint32_t next_seed = 1;

long option(int argc, char** argv, const std::string& name, long otherwise) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind(name + "=", 0) == 0)
      return std::strtol(argument.c_str() + name.size() + 1, nullptr, 10);
  }
  return otherwise;
}

}  // namespace

// As libFuzzer's, for the mutators of the fuzzers.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit) {
  vp3d::test::Mutator mutate(next_seed++);
  const std::string bytes =
      mutate(std::string(reinterpret_cast<const char*>(data), size), size / 2);
  return bytes.copy(reinterpret_cast<char*>(data), limit);
}

int main(int argc, char** argv) {
  const auto seconds = std::chrono::seconds(option(argc, argv, "-max_total_time", 10));
  next_seed = static_cast<std::uint32_t>(option(argc, argv, "-seed", 1));
  const auto end = std::chrono::steady_clock::now() + seconds;
  std::vector<std::uint8_t> data(room);
  long inputs = 0;
  for (unsigned round = 0; std::chrono::steady_clock::now() < end; ++round) {
    std::size_t size = 0;
    for (unsigned changes = 0; changes <= round % 4; ++changes, ++inputs) {
      size = LLVMFuzzerCustomMutator(data.data(), size, data.size(), round);
      LLVMFuzzerTestOneInput(data.data(), size);
    }
  }
  std::cout << inputs << " inputs\n";
  return inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
