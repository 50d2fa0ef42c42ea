#include "json.hpp"

#include <algorithm>
#include <utility>

namespace vp3d::cpu::json {
namespace {

// Far above what the files of a bundle hold; they bound what a hostile one can cost: a value takes
// some hundred bytes, a level of depth a few hundred of the stack.
constexpr int max_depth = 32;
constexpr std::size_t max_values = 200'000;

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::null: return "null";
    case Kind::boolean: return "true or false";
    case Kind::integer: return "a whole number";
    case Kind::real: return "a number that is not whole or too large";
    case Kind::string: return "a string";
    case Kind::array: return "a list";
    case Kind::object: return "an object";
  }
  return "?";
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The length of the UTF-8 sequence that `text` begins with; 0 where it is none: overlong forms,
// surrogates and what lies beyond U+10FFFF are none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto tail = [&](int shift) {
    text += static_cast<char>(0x80U | ((code >> shift) & 0x3FU));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0U | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0U | (code >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0U | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value run() {
    Value result = value(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows the value");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(what + " at byte " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void skip_space() {
    constexpr std::string_view space = " \t\n\r";
    while (at_ < text_.size() && space.find(text_[at_]) != std::string_view::npos) ++at_;
  }

  Value value(int depth) {
    if (depth >= max_depth) fail("values are nested too deeply");
    if (++n_values_ > max_values) fail("too many values");
    skip_space();
    Value result;
    if (peek() == '{') {
      object(result, depth);
    } else if (peek() == '[') {
      array(result, depth);
    } else if (peek() == '"') {
      result.kind_ = Kind::string;
      result.string_ = string();
    } else if (peek() == '-' || is_digit(peek())) {
      number(result);
    } else if (word("true")) {
      result.kind_ = Kind::boolean;
      result.integer_ = 1;
    } else if (word("false")) {
      result.kind_ = Kind::boolean;
    } else if (!word("null")) {
      fail(at_ < text_.size() ? "no value" : "the text ends");
    }
    return result;
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  void array(Value& result, int depth) {
    result.kind_ = Kind::array;
    take('[');
    skip_space();
    if (take(']')) return;
    do {
      result.array_.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) fail("expected , or ]");
  }

  void object(Value& result, int depth) {
    result.kind_ = Kind::object;
    take('{');
    skip_space();
    if (take('}')) return;
    auto& members = result.members_;
    do {
      skip_space();
      if (peek() != '"') fail("expected a key in quotes");
      std::string key = string();
      skip_space();
      if (!take(':')) fail("expected :");
      members.push_back({std::move(key), value(depth + 1)});
      skip_space();
    } while (take(','));
    if (!take('}')) fail("expected , or }");
    std::sort(members.begin(), members.end(),
              [](const Member& a, const Member& b) { return a.key < b.key; });
    const auto twice =
        std::adjacent_find(members.begin(), members.end(),
                           [](const Member& a, const Member& b) { return a.key == b.key; });
    if (twice != members.end()) fail("key " + quoted(twice->key) + " twice in the object that ends");
  }

  void number(Value& result) {
    const std::size_t start = at_;
    take('-');
    if (!take('0') && digits() == 0) fail("expected a digit");
    const std::size_t end = at_;
    const bool fraction = take('.');
    if (fraction && digits() == 0) fail("expected a digit");
    const bool exponent = take('e') || take('E');
    if (exponent && !take('+')) take('-');
    if (exponent && digits() == 0) fail("expected a digit");
    const bool whole =
        !fraction && !exponent && integer(text_.substr(start, end - start), result.integer_);
    result.kind_ = whole ? Kind::integer : Kind::real;
  }

  std::size_t digits() {
    const std::size_t start = at_;
    while (is_digit(peek())) ++at_;
    return at_ - start;
  }

  // False where `digits` does not fit.
  static bool integer(std::string_view digits, std::int64_t& result) {
    constexpr std::int64_t limit = INT64_MAX;
    const bool negative = digits.front() == '-';
    std::int64_t magnitude = 0;
    for (const char c : digits.substr(negative ? 1 : 0)) {
      const int digit = c - '0';
      if (magnitude > (limit - digit) / 10) return false;
      magnitude = magnitude * 10 + digit;
    }
    result = negative ? -magnitude : magnitude;
    return true;
  }

  std::string string() {
    take('"');
    std::string result;
    while (!take('"')) {
      const std::size_t length = utf8_length(text_.substr(at_));
      if (at_ >= text_.size()) fail("a string does not end");
      if (length == 0) fail("a string is not UTF-8");
      if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("a control character in a string");
      if (take('\\')) {
        escape(result);
      } else {
        result += text_.substr(at_, length);
        at_ += length;
      }
    }
    return result;
  }

  void escape(std::string& result) {
    constexpr std::string_view letters = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    const std::size_t found = letters.find(peek());
    if (at_ < text_.size() && found != std::string_view::npos) {
      ++at_;
      result += meanings[found];
      return;
    }
    if (!take('u')) fail("an unknown escape");
    std::uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t back = at_;
      at_ += 2;
      const std::uint32_t low = hex4();
      if (low >= 0xDC00 && low < 0xE000)
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      else
        at_ = back;
    }
    // Half a pair alone: Python writes them for file names that are not UTF-8.
    if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
    append_utf8(result, code);
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      std::uint32_t digit = 0;
      if (is_digit(c)) digit = static_cast<std::uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f') digit = static_cast<std::uint32_t>(c - 'a') + 10;
      else if (c >= 'A' && c <= 'F') digit = static_cast<std::uint32_t>(c - 'A') + 10;
      else fail("expected four hexadecimal digits");
      code = code * 16 + digit;
      ++at_;
    }
    return code;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t n_values_ = 0;
};

void Value::expect(Kind kind) const {
  if (kind_ != kind)
    throw Error(std::string("expected ") + name_of(kind) + ", not " + name_of(kind_));
}

bool Value::boolean() const {
  expect(Kind::boolean);
  return integer_ != 0;
}

std::int64_t Value::integer() const {
  expect(Kind::integer);
  return integer_;
}

const std::string& Value::string() const {
  expect(Kind::string);
  return string_;
}

const std::vector<Value>& Value::array() const {
  expect(Kind::array);
  return array_;
}

const std::vector<Member>& Value::object() const {
  expect(Kind::object);
  return members_;
}

const Value* Value::find(std::string_view key) const {
  expect(Kind::object);
  const auto found = std::lower_bound(
      members_.begin(), members_.end(), key,
      [](const Member& member, std::string_view wanted) { return member.key < wanted; });
  return found != members_.end() && found->key == key ? &found->value : nullptr;
}

const Value& Value::at(std::string_view key) const {
  const Value* found = find(key);
  if (found == nullptr) throw Error("it lacks " + quoted(key));
  return *found;
}

Value parse(std::string_view text) { return Parser(text).run(); }

std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 80;
  std::string result = "\"";
  while (!text.empty() && result.size() < longest) {
    const std::size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text.front());
    const bool plain = length > 0 && first >= 0x20 && first != 0x7F;
    result += plain ? std::string(text.substr(0, length)) : "?";
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result + (text.empty() ? "\"" : "...\"");
}

}  // namespace vp3d::cpu::json
