// A strict reader of JSON (RFC 8259) for headers and manifests, which may come from strangers:
// bounded in depth and in the number of values, no duplicate keys, UTF-8 checked.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vp3d::cpu::json {

// Says what is wrong and, for text that is not JSON, at which byte.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Kind { null, boolean, integer, real, string, array, object };

struct Member;

// One value. The accessors throw Error for a value of another kind.
class Value {
 public:
  Kind kind() const { return kind_; }

  bool boolean() const;
  std::int64_t integer() const;  // a number with a fraction, or beyond 64 bits, is `real`
  const std::string& string() const;
  const std::vector<Value>& array() const;
  const std::vector<Member>& object() const;  // in order of the keys' bytes

  const Value* find(std::string_view key) const;  // nullptr where an object has no such key
  const Value& at(std::string_view key) const;    // throws Error where it has none

 private:
  friend class Parser;
  void expect(Kind kind) const;

  Kind kind_ = Kind::null;
  std::int64_t integer_ = 0;  // also of a boolean
  std::string string_;
  std::vector<Value> array_;
  std::vector<Member> members_;
};

struct Member {
  std::string key;
  Value value;
};

// Read one value and nothing after it but white space. Throws Error.
Value parse(std::string_view text);

// A string from a file as it may stand in a message: in quotes, on one line, and short.
std::string quoted(std::string_view text);

}  // namespace vp3d::cpu::json
