// The reader of JSON takes what RFC 8259 allows and nothing else.
#include <string>

#include "check.hpp"
#include "json.hpp"

namespace {

using namespace vp3d::cpu::json;
using namespace std::string_literals;

void reads_values() {
  const Value root = parse(
      " {\"a\" : [1, -2,\n0, 9223372036854775807], \"b\":{\"c\":true , \"d\":false}, \"e\":null, "
      "\"f\":\"x\", \"g\":1.5, \"h\":[], \"i\":{}}\t\r\n ");
  CHECK_EQUAL(root.at("a").array().size(), 4U);
  CHECK_EQUAL(root.at("a").array()[1].integer(), -2);
  CHECK_EQUAL(root.at("a").array()[3].integer(), INT64_MAX);
  CHECK(root.at("b").at("c").boolean() && !root.at("b").at("d").boolean());
  CHECK(root.at("e").kind() == Kind::null && root.at("g").kind() == Kind::real);
  CHECK_EQUAL(root.at("f").string(), "x");
  CHECK(root.at("h").array().empty() && root.at("i").object().empty());
  CHECK(root.find("z") == nullptr);
}

void reads_numbers() {
  for (const char* real : {"0.5", "-0.5e-3", "1e9", "1E+9", "9223372036854775808", "-1e400"})
    CHECK(parse(real).kind() == Kind::real);
  for (const char* none : {"01", "1.", ".5", "+1", "1e", "-", "0x1", "NaN", "Infinity", "1 2"})
    CHECK_THROWS(Error, parse(none), "at byte");
}

void reads_strings() {
  CHECK_EQUAL(parse(R"("\"\\\/\b\f\n\r\t")").string(), "\"\\/\b\f\n\r\t");
  CHECK_EQUAL(parse(R"("\u0041\u00e9\u20AC\ud83d\ude00")").string(), "A\u00e9\u20ac\U0001F600");
  CHECK_EQUAL(parse("\"A\u00e9\u20ac\U0001F600\"").string(), "A\u00e9\u20ac\U0001F600");
  CHECK_EQUAL(parse(R"("\udc80\ud800x\ud800\u0041")").string(), "\uFFFD\uFFFDx\uFFFDA");
  CHECK_EQUAL(parse(R"("\u0000")").string(), "\0"s);
  for (const char* none :
       {"\"", "\"\\\"", "\"\n\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u12", "\"\xff\"", "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"\xe0\x80\x80\""})
    CHECK_THROWS(Error, parse(none), "at byte");
  CHECK_THROWS(Error, parse("\"\0\""s), "control character");
}

void refuses_what_is_not_json() {
  for (const char* none :
       {"", " ", "{", "[", "]", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
        "{1:2}", "tru", "truex", "nul", "[1]]", "{} {}", "'a'", "// a\n1"})
    CHECK_THROWS(Error, parse(none), "at byte");
  CHECK_THROWS(Error, parse("1\0"s), "something follows");
  CHECK_THROWS(Error, parse(R"({"a":1,"b":2,"a":1})"), "key \"a\" twice");
  CHECK_THROWS(Error, parse(R"({"a":1,"\u0061":1})"), "key \"a\" twice");
}

void bounds_what_a_file_can_cost() {
  CHECK_EQUAL(parse(std::string(31, '[') + std::string(31, ']')).array().size(), 1U);
  for (const char open : {'[', '{'})
    CHECK_THROWS(Error, parse(std::string(1'000'000, open)), open == '[' ? "deeply" : "quotes");
  std::string nested;
  for (int i = 0; i < 1000; ++i) nested += "{\"a\":";
  CHECK_THROWS(Error, parse(nested), "deeply");
  std::string many = "[0";
  for (int i = 0; i < 300'000; ++i) many += ",0";
  CHECK_THROWS(Error, parse(many + "]"), "too many values");
}

void says_what_was_expected() {
  const Value root = parse(R"({"a":[1],"b":"x"})");
  CHECK_THROWS(Error, root.at("a").string(), "expected a string, not a list");
  CHECK_THROWS(Error, root.at("b").integer(), "expected a whole number, not a string");
  CHECK_THROWS(Error, root.at("b").find("c"), "expected an object, not a string");
  CHECK_THROWS(Error, root.at("c"), "it lacks \"c\"");
  CHECK_EQUAL(vp3d::cpu::json::quoted("a\nb\xff\u20ac"), "\"a?b?\u20ac\"");
  CHECK(vp3d::cpu::json::quoted(std::string(1000, 'x')).size() < 100);
}

}  // namespace

int main() {
  reads_values();
  reads_numbers();
  reads_strings();
  refuses_what_is_not_json();
  bounds_what_a_file_can_cost();
  says_what_was_expected();
  return vp3d::test::result();
}
