// What the machine can do at best, to hold the engine's figures against.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vp3d::cpu {

// Reads the same `bytes` of memory (whole pages of 4096) again and again, as a network's weights
// are read. Throws std::invalid_argument for impossible numbers.
class MemoryReader {
 public:
  MemoryReader(std::int64_t bytes, int threads);
  ~MemoryReader();

  double read();  // seconds of one pass, all threads together

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Multiply-adds per second of all threads together when nothing is read from memory: float32 with
// kind "fp32", 8-bit integers with kind "int8", by the best instruction set at hand. A tenth of a
// second, in pieces of about half a millisecond: a rate for each, at least one.
std::vector<double> multiply_add_rates(const std::string& kind, int threads);

}  // namespace vp3d::cpu
