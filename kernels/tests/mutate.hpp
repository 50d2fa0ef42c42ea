// Damage bytes as disks, transfers and strangers do. The same seed gives the same damage anywhere:
// the standard fixes std::mt19937, but not its distributions, which are therefore not used.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace vp3d::test {

class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : random_(seed) {}

  // One to four changes, most of them among the first `header` bytes, where they matter.
  std::string operator()(std::string bytes, std::size_t header) {
    const std::size_t changes = 1 + below(4);
    for (std::size_t i = 0; i < changes; ++i) change(bytes, header);
    return bytes;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  void change(std::string& bytes, std::size_t header) {
    static const std::array<std::string, 16> pieces{
        "0", "-1", "9223372036854775807", "18446744073709551616", "4294967296", "1e5", "[", "]",
        "{", "}", ",", "\"", "null", "F16", "\\ud800", std::string("\0\xff\x80", 3)};
    if (bytes.empty()) return;
    const std::size_t at = below(below(8) ? std::min(header, bytes.size()) : bytes.size());
    switch (below(7)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 1: bytes[at] = static_cast<char>(below(256)); break;
      case 2: bytes.erase(at, 1 + below(8)); break;
      case 3: bytes.insert(at, pieces[below(pieces.size())]); break;
      case 4: change_digit(bytes, at); break;
      case 5: bytes.insert(at, bytes.substr(below(bytes.size()), below(40))); break;
      default: if (below(4) == 0) bytes.resize(at);
    }
  }

  // The next digit after `at`, so that numbers change and the JSON stays whole.
  void change_digit(std::string& bytes, std::size_t at) {
    const std::size_t digit = bytes.find_first_of("0123456789", at);
    if (digit != std::string::npos) bytes[digit] = static_cast<char>('0' + below(10));
  }

  std::mt19937 random_;
};

}  // namespace vp3d::test
