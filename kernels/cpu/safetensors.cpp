#include "safetensors.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "vp3d/engine.hpp"

namespace vp3d::cpu {
namespace {

constexpr std::size_t length_bytes = 8;             // before the header: its length
constexpr std::size_t max_header_bytes = 1U << 20;  // a network's is a few thousand

struct TypeName {
  std::string_view name;
  std::int64_t bytes;
  std::optional<DType> dtype;
};

// All whose elements are whole bytes; the format's few others are not known here.
constexpr std::array<TypeName, 15> types{{
    {"F32", 4, DType::f32},
    {"F16", 2, DType::f16},
    {"I8", 1, DType::i8},
    {"BF16", 2, {}},
    {"F64", 8, {}},
    {"I64", 8, {}},
    {"U64", 8, {}},
    {"I32", 4, {}},
    {"U32", 4, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"U8", 1, {}},
    {"BOOL", 1, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
}};

const TypeName& type_called(const std::string& name) {
  const auto found = std::find_if(types.begin(), types.end(),
                                  [&](const TypeName& type) { return type.name == name; });
  if (found == types.end()) throw json::Error("unknown type " + json::quoted(name));
  return *found;
}

std::int64_t product(std::int64_t a, std::int64_t b) {
  if (b != 0 && a > std::numeric_limits<std::int64_t>::max() / b)
    throw json::Error("a shape that is larger than any file");
  return a * b;
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::uint64_t little_endian(const std::byte* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = length_bytes; i > 0; --i)
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[i - 1]);
  return value;
}

// `shape`, which the file may not make negative, long, or so large that its size overflows.
std::vector<std::int64_t> shape_of(const json::Value& value) {
  constexpr std::size_t max_axes = 8;
  std::vector<std::int64_t> shape;
  if (value.array().size() > max_axes) throw json::Error("too many axes");
  for (const json::Value& length : value.array()) {
    shape.push_back(length.integer());
    if (shape.back() < 0) throw json::Error("a negative length");
  }
  return shape;
}

void check_metadata(const json::Value& metadata) {
  for (const json::Member& member : metadata.object()) member.value.string();
}

}  // namespace

std::int64_t TensorView::size() const {
  std::int64_t result = 1;
  for (const std::int64_t length : shape) result *= length;
  return result;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path), file_(path) {
  const auto refuse = [&path](const std::string& why) {
    throw WeightsError(path + " is damaged or no safetensors file: " + why);
  };
  if (file_.size() < length_bytes) refuse("it has " + std::to_string(file_.size()) + " bytes");
  const std::uint64_t header_bytes = little_endian(file_.data());
  if (header_bytes > file_.size() - length_bytes)
    refuse("its header should take " + std::to_string(header_bytes) + " bytes, and it has " +
           std::to_string(file_.size()));
  if (header_bytes > max_header_bytes)
    refuse("its header takes " + std::to_string(header_bytes) + " bytes; at most " +
           std::to_string(max_header_bytes) + " are read");
  try {
    read_header({reinterpret_cast<const char*>(file_.data()) + length_bytes,
                 static_cast<std::size_t>(header_bytes)});
  } catch (const json::Error& error) {
    refuse(error.what());
  }
}

void SafetensorsFile::read_header(std::string_view header) {
  const json::Value root = json::parse(header);
  const std::size_t data_start = length_bytes + header.size();
  std::vector<Extent> extents;
  for (const auto& [name, value] : root.object()) {
    try {
      if (name == "__metadata__")
        check_metadata(value);
      else
        extents.push_back(read_entry(name, value, data_start));
    } catch (const json::Error& error) {
      throw json::Error("tensor " + json::quoted(name) + ": " + error.what());
    }
  }
  check_extents(std::move(extents), static_cast<std::int64_t>(file_.size() - data_start));
}

SafetensorsFile::Extent SafetensorsFile::read_entry(const std::string& name,
                                                    const json::Value& value,
                                                    std::size_t data_start) {
  const TypeName& type = type_called(value.at("dtype").string());
  const std::vector<std::int64_t> shape = shape_of(value.at("shape"));
  const auto& offsets = value.at("data_offsets").array();
  if (value.object().size() != 3) throw json::Error("it has keys that are not known");
  if (offsets.size() != 2) throw json::Error("it has not two offsets");
  const Extent extent{offsets[0].integer(), offsets[1].integer(), name};
  const auto data_bytes = static_cast<std::int64_t>(file_.size() - data_start);
  if (extent.begin < 0 || extent.begin > extent.end || extent.end > data_bytes)
    throw json::Error("it lies at bytes " + std::to_string(extent.begin) + " to " +
                      std::to_string(extent.end) + " of " + std::to_string(data_bytes));
  std::int64_t bytes = type.bytes;
  for (const std::int64_t length : shape) bytes = product(bytes, length);
  if (bytes != extent.end - extent.begin)
    throw json::Error("it takes " + std::to_string(extent.end - extent.begin) + " bytes, but " +
                      std::string(type.name) + " of shape " + text_of(shape) + " takes " +
                      std::to_string(bytes));
  // The mapping begins at a page, so the place in the file decides.
  const std::size_t place = data_start + static_cast<std::size_t>(extent.begin);
  if (place % static_cast<std::size_t>(type.bytes) != 0)
    throw json::Error("it is not aligned to its type");
  entries_[name] = {{type.dtype.value_or(DType::i8), shape, file_.data() + place},
                    type.dtype.has_value(),
                    std::string(type.name)};
  return extent;
}

// Does every byte after the header belong to exactly one tensor?
void SafetensorsFile::check_extents(std::vector<Extent> extents, std::int64_t data_bytes) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::int64_t covered = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != covered)
      throw json::Error("tensor " + json::quoted(extent.name) + " begins at byte " +
                        std::to_string(extent.begin) + " of the data, not where the one before " +
                        "it ends, " + std::to_string(covered));
    covered = extent.end;
  }
  if (covered != data_bytes)
    throw json::Error("its tensors take " + std::to_string(covered) + " bytes, and " +
                      std::to_string(data_bytes) + " follow the header");
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : entries_) result.push_back(name);
  return result;
}

const TensorView& SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw WeightsError(path_ + " holds no tensor " + json::quoted(name));
  const Entry& entry = found->second;
  if (!entry.readable)
    throw WeightsError(path_ + ": tensor " + json::quoted(name) + " is " + entry.type +
                       "; weights are F32, F16 or I8");
  return entry.view;
}

const TensorView& SafetensorsFile::tensor(const std::string& name,
                                          const std::vector<std::int64_t>& shape) const {
  const TensorView& view = tensor(name);
  if (view.shape != shape)
    throw WeightsError(path_ + ": tensor " + json::quoted(name) + " has shape " +
                       text_of(view.shape) + ", and this network's has " + text_of(shape));
  return view;
}

}  // namespace vp3d::cpu
