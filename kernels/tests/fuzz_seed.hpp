// Where a fuzzer starts: whole files, whose headers it would not find by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room);

namespace vp3d::test {

// What a fuzzer's own mutator does: anything short becomes `whole` first.
inline std::size_t mutate_from(const std::string& whole, std::uint8_t* data, std::size_t size,
                               std::size_t room) {
  if (size < whole.size() / 8 && whole.size() <= room)
    size = whole.copy(reinterpret_cast<char*>(data), room);
  return LLVMFuzzerMutate(data, size, room);
}

}  // namespace vp3d::test
