// Thousands of damaged files, the same ones every time: each is taken or refused as documented.
// The sanitizer builds see what a crash would hide. fuzz_*.cpp look further.
#include <cstdio>
#include <string>

#include "check.hpp"
#include "exercise.hpp"
#include "mutate.hpp"
#include "reference_network.hpp"
#include "safetensors_bytes.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Network;
using vp3d::Precision;

constexpr int n_files = 4000;

// Some are still taken, most refused: otherwise the mutations would test nothing.
void check_counts(int taken) { CHECK(taken > n_files / 100 && taken < n_files * 9 / 10); }

void mutate_safetensors() {
  const std::string header = "{\"__metadata__\":{\"a\":\"b\"}," +
                             entry("pose.level0.conv.weight", "F32", "[2,3]", 0, 24) + "," +
                             entry("pose.level1.conv.weight", "F16", "[2,2]", 24, 32) + "," +
                             entry("pose.level1.mix.weight", "I8", "[2,2]", 32, 36) + "}";
  const std::string path = "test_mutations.tmp";
  Mutator mutate(1);
  int taken = 0;
  for (int i = 0; i < n_files; ++i) {
    const std::size_t data_at = i % 2 ? 0 : 512;
    write_file(path, mutate(safetensors(header, 36, data_at), 8 + header.size()));
    taken += exercise_safetensors(path) ? 1 : 0;
  }
  std::remove(path.c_str());
  check_counts(taken);
}

// Real weights: what is taken is also run.
void mutate_weights() {
  const Network network{"pose", {{3, 3}, 6, 2, 2, 2, false}};
  const std::string path = "test_mutations.tmp";
  Mutator mutate(3);
  for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8}) {
    const std::string whole = file_of(random_tensors({network}, precision, 1));
    const std::size_t header = whole.find_last_of('}', 4096);
    int taken = 0;
    for (int i = 0; i < n_files / 2; ++i) {
      write_file(path, mutate(whole, header));
      taken += exercise_engine(path, network, precision) ? 1 : 0;
    }
    CHECK(taken > n_files / 200 && taken < n_files / 2 * 9 / 10);
  }
  std::remove(path.c_str());
}

void mutate_json() {
  const std::string text =
      R"({"format": "vp3d-bundle", "networks": {"pose": {"filter_widths": [3, 3, 3], "x": 1.5e3}},)"
      R"( "files": {"a": {"bytes": 123, "sha256": "\u00e9\ud83d\ude00"}}, "b": [true, null, []]})";
  Mutator mutate(2);
  int taken = 0;
  for (int i = 0; i < n_files; ++i) taken += exercise_json(mutate(text, text.size())) ? 1 : 0;
  check_counts(taken);
}

}  // namespace

int main() {
  mutate_safetensors();
  mutate_weights();
  mutate_json();
  return vp3d::test::result();
}
