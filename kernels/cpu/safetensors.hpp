// Read a safetensors file: a header of JSON, then the tensors' bytes. The file is mapped, and
// checked whole before any tensor is handed out: it may come from a stranger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "mapped_file.hpp"

namespace vp3d::cpu {

enum class DType { f32, f16, i8 };

// A tensor inside the mapped file; valid as long as its SafetensorsFile.
struct TensorView {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;

  std::int64_t size() const;  // the number of elements
};

class SafetensorsFile {
 public:
  // Throws WeightsError, one sentence with the path: a file that is missing, short, not
  // safetensors; a header that is too large, not JSON, has unknown keys or types; shapes that
  // overflow; offsets that lie outside, overlap, leave gaps, are not aligned to their type or do
  // not match shape and type. Tensors of types other than those above are refused by `tensor`.
  explicit SafetensorsFile(const std::string& path);

  const std::string& path() const { return path_; }
  std::vector<std::string> names() const;  // of all tensors

  // Throws WeightsError if there is none of that name, or it is of another type than those above.
  const TensorView& tensor(const std::string& name) const;

  // The same, and it must have this shape; the message says both.
  const TensorView& tensor(const std::string& name, const std::vector<std::int64_t>& shape) const;

  // Its type, to choose what to do with it.
  DType dtype(const std::string& name) const { return tensor(name).dtype; }

 private:
  struct Entry {
    TensorView view;
    bool readable = false;  // of one of the types above
    std::string type;       // as the file names it
  };

  // The bytes of the data that the header says a tensor takes.
  struct Extent {
    std::int64_t begin, end;
    std::string name;
  };

  void read_header(std::string_view header);
  Extent read_entry(const std::string& name, const json::Value& value, std::size_t data_start);
  static void check_extents(std::vector<Extent> extents, std::int64_t data_bytes);

  std::string path_;
  MappedFile file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace vp3d::cpu
