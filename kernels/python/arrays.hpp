// NumPy arrays, or whatever else has a buffer, as pointers to dense numbers.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vp3d::python {

using Shape = std::vector<std::int64_t>;

// Like Python writes a tuple; a negative length is "*", of any size.
std::string text_of(const Shape& shape);

// A dense array, of float32 unless it says otherwise, held while this lives: it can neither go away
// nor move meanwhile. To be made and destroyed with the GIL held.
class Array {
 public:
  enum class Access { read, write };
  enum class Type { float32, int32, uint32, uint8 };

  // Throws ValueError unless `object` is dense and of this type, aligned, and writable where asked
  // for: it says what `name` is.
  Array(nanobind::handle object, const char* name, Access access, Type type = Type::float32);
  ~Array();
  Array(Array&& other) noexcept;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  const float* data() const { return static_cast<const float*>(view_.buf); }
  float* mutable_data() const { return static_cast<float*>(view_.buf); }
  // Of the type that was asked for.
  template <class T>
  T* as() const {
    return static_cast<T*>(view_.buf);
  }
  Shape shape() const;
  std::int64_t axis(int axis) const { return view_.shape[axis]; }

  // Does it have this shape? A negative length fits any.
  bool fits(const Shape& expected) const;

 private:
  Py_buffer view_{};
};

}  // namespace vp3d::python
