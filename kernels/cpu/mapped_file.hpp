// A whole file, mapped for reading.
#pragma once

#include <cstddef>
#include <string>

namespace vp3d::cpu {

class MappedFile {
 public:
  // Throws WeightsError for what is missing, empty, no plain file, or cannot be read.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return static_cast<const std::byte*>(mapping_); }
  std::size_t size() const { return size_; }

 private:
  void* mapping_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace vp3d::cpu
