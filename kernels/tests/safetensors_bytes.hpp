// The bytes of safetensors files, for tests of who reads them.
#pragma once

#include <cstdint>
#include <string>

namespace vp3d::test {

inline std::string length_prefix(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  return bytes;
}

// A file of this header and so many bytes of data, 0, 1, 2 ...; `data_at`: where the data begins
// at least, the header being lengthened with spaces.
inline std::string safetensors(std::string header, std::size_t data_bytes,
                               std::size_t data_at = 0) {
  if (8 + header.size() < data_at) header.resize(data_at - 8, ' ');
  std::string bytes = length_prefix(header.size()) + header;
  for (std::size_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

inline std::string entry(const std::string& name, const std::string& dtype,
                         const std::string& shape, std::int64_t begin, std::int64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace vp3d::test
