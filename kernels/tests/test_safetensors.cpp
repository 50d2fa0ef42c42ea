// Safetensors files are read as they are meant, and hostile ones are refused, each for its reason.
#include "safetensors.hpp"

#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "check.hpp"
#include "safetensors_bytes.hpp"
#include "vp3d/engine.hpp"

namespace {

using namespace vp3d::test;
using vp3d::WeightsError;
using vp3d::cpu::DType;
using vp3d::cpu::SafetensorsFile;

const std::string path = "test_safetensors.tmp";

const std::string good =
    "{\"__metadata__\":{\"made\":\"by h\u00e4nd\"}," + entry("b", "I8", "[3]", 32, 35) + "," +
    entry("a", "F32", "[2,3]", 0, 24) + "," + entry("c", "F16", "[2,2]", 24, 32) + "," +
    entry("d", "I8", "[]", 35, 36) + "," + entry("e", "U8", "[0]", 36, 36) + "}";

void refuses(const std::string& bytes, const std::string& why, int line) {
  write_file(path, bytes);
  check_throws<WeightsError>([&] { SafetensorsFile file(path); }, why, __FILE__, line);
  check_throws<WeightsError>([&] { SafetensorsFile file(path); }, path, __FILE__, line);
}

#define REFUSES(bytes, why) refuses(bytes, why, __LINE__)

std::string one(const std::string& dtype, const std::string& shape, std::int64_t begin,
                std::int64_t end, std::size_t data_bytes = 8) {
  return safetensors("{" + entry("a", dtype, shape, begin, end) + "}", data_bytes, 128);
}

void reads_tensors() {
  for (const std::size_t data_at : {512, 1024, 4096}) {
    write_file(path, safetensors(good, 36, data_at));
    const SafetensorsFile file(path);
    CHECK_EQUAL(file.path(), path);
    const auto& a = file.tensor("a", {2, 3});
    CHECK(a.dtype == DType::f32 && a.size() == 6 && std::to_integer<int>(a.data[23]) == 23);
    CHECK_EQUAL(std::to_integer<int>(file.tensor("c", {2, 2}).data[0]), 24);
    CHECK_EQUAL(std::to_integer<int>(file.tensor("b", {3}).data[0]), 32);
    CHECK_EQUAL(file.tensor("d", {}).size(), 1);
    CHECK(file.dtype("c") == DType::f16 && file.dtype("d") == DType::i8);
  }
}

void says_what_a_tensor_is() {
  write_file(path, safetensors(good, 36, 512));
  const SafetensorsFile file(path);
  CHECK_THROWS(WeightsError, file.tensor("z", {1}), "holds no tensor \"z\"");
  CHECK_THROWS(WeightsError, file.dtype("__metadata__"), "holds no tensor");
  CHECK_THROWS(WeightsError, file.tensor("a", {3, 2}), "has shape (2, 3), and this network's");
  CHECK_THROWS(WeightsError, file.tensor("a", {6}), "has (6,)");
  CHECK_THROWS(WeightsError, file.tensor("e", {0}), "is U8; weights are F32, F16 or I8");
}

void refuses_what_is_no_file() {
  std::remove(path.c_str());
  CHECK_THROWS(WeightsError, SafetensorsFile file(path), "cannot be read: No such file");
  CHECK_THROWS(WeightsError, SafetensorsFile file("."), "is not a plain file");
  CHECK_EQUAL(::mkfifo(path.c_str(), 0600), 0);
  CHECK_THROWS(WeightsError, SafetensorsFile file(path), "is not a plain file");
  std::remove(path.c_str());
  REFUSES("", "is empty");
}

void refuses_headers() {
  REFUSES("1234567", "it has 7 bytes");
  REFUSES(length_prefix(UINT64_MAX) + "{}", "should take 18446744073709551615 bytes");
  REFUSES(length_prefix(3) + "{}", "should take 3 bytes, and it has 10");
  REFUSES(length_prefix(0), "the text ends");
  REFUSES(safetensors("{}", 1), "its tensors take 0 bytes, and 1 follow");
  REFUSES(safetensors("[]", 0), "expected an object");
  REFUSES(safetensors("{}x", 0), "something follows");
  REFUSES(safetensors("{}", 0, 2'000'000), "its header takes 1999992 bytes");
  REFUSES(safetensors(std::string(500'000, '['), 0), "deeply");
  REFUSES(safetensors("{\"a\":1}", 0), "tensor \"a\": expected an object");
  REFUSES(safetensors("{\"__metadata__\":{\"a\":1}}", 0), "expected a string");
  REFUSES(safetensors(R"({"a":{"dtype":"F32","shape":[]}})", 4), "it lacks \"data_offsets\"");
  REFUSES(safetensors(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1],"x":0}})", 1),
          "keys that are not known");
  const std::string twice = "{" + entry("a", "I8", "[1]", 0, 1) + "," +
                            entry("a", "I8", "[1]", 1, 2) + "}";
  REFUSES(safetensors(twice, 2), "key \"a\" twice");
}

void refuses_shapes_and_offsets() {
  REFUSES(one("F31", "[2]", 0, 8), "unknown type \"F31\"");
  REFUSES(one("F32", "[3]", 0, 8), "it takes 8 bytes, but F32 of shape (3,) takes 12");
  REFUSES(one("F32", "[-2]", 0, 8), "a negative length");
  REFUSES(one("F32", "[2.0]", 0, 8), "expected a whole number");
  REFUSES(one("F32", "[1e30]", 0, 8), "expected a whole number");
  REFUSES(one("F32", "[4611686018427387904,4]", 0, 8), "larger than any file");
  REFUSES(one("I8", "[4294967296,4294967296,8]", 0, 8), "larger than any file");
  REFUSES(one("I8", "[1,1,1,1,1,1,1,1,8]", 0, 8), "too many axes");
  REFUSES(one("F32", "[2]", 0, 9), "it lies at bytes 0 to 9 of 8");
  REFUSES(one("F32", "[2]", 8, 0), "it lies at bytes 8 to 0");
  REFUSES(one("F32", "[2]", -8, 0), "it lies at bytes -8 to 0");
  REFUSES(one("I8", "[4]", 4, 8), "begins at byte 4 of the data, not where");
  REFUSES(one("I8", "[4]", 0, 4), "its tensors take 4 bytes, and 8 follow");
  REFUSES(safetensors("{" + entry("a", "F32", "[2]", 0, 8) + "}", 8, 129), "not aligned");
  REFUSES(safetensors(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0]}})", 1), "two offsets");
  const std::string overlap = "{" + entry("a", "I8", "[4]", 0, 4) + "," +
                              entry("b", "I8", "[6]", 2, 8) + "}";
  REFUSES(safetensors(overlap, 8), "tensor \"b\" begins at byte 2");
}

}  // namespace

int main() {
  reads_tensors();
  says_what_a_tensor_is();
  refuses_what_is_no_file();
  refuses_headers();
  refuses_shapes_and_offsets();
  std::remove(path.c_str());
  return vp3d::test::result();
}
