// Registers, stack, spills and shared memory of each kernel on each architecture, as `ptxas -v`
// reports them, against the table in kernels/cuda/resources.txt.
//
//   test_cuda_resources REPORT TABLE NVCC_VERSION ARCHITECTURE..
//
// Registers are held to the number for the version of nvcc that the table was made with. Others
// allocate differently: there they must be no more than the launch bounds leave.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

// Each kernel, and the registers that its launch bounds leave to a thread.
constexpr int most_registers(int threads, int blocks) {
  const int registers = 65536 / (threads * blocks) / 8 * 8;
  return registers < 255 ? registers : 255;
}
const std::map<std::string, int> kernels{
    {"vp3d_clip_finish", 255},
    {"vp3d_clip_group_f16", most_registers(256, 1)},
    {"vp3d_clip_group_i8", most_registers(256, 1)},
    {"vp3d_clip_huge_f16", most_registers(256, 1)},
    {"vp3d_clip_huge_i8", most_registers(256, 1)},
    {"vp3d_clip_narrow_f16", most_registers(512, 1)},
    {"vp3d_clip_narrow_f32", most_registers(512, 1)},
    {"vp3d_clip_narrow_i8", most_registers(512, 1)},
    {"vp3d_clip_prepare", 255},
    {"vp3d_clip_tall_f16", most_registers(128, 3)},
    {"vp3d_clip_tall_i8", most_registers(128, 3)},
    {"vp3d_clip_tile_f16", most_registers(128, 4)},
    {"vp3d_clip_tile_f32", most_registers(128, 3)},
    {"vp3d_clip_tile_i8", most_registers(128, 4)},
    {"vp3d_clip_wide_f16", most_registers(128, 2)},
    {"vp3d_clip_wide_i8", most_registers(128, 2)},
    {"vp3d_stream_finish", 255},
    {"vp3d_stream_group_f16", most_registers(256, 1)},
    {"vp3d_stream_group_i8", most_registers(256, 1)},
    {"vp3d_stream_huge_f16", most_registers(256, 1)},
    {"vp3d_stream_huge_i8", most_registers(256, 1)},
    {"vp3d_stream_phase", most_registers(512, 1)},
    {"vp3d_stream_prepare", 255},
    {"vp3d_stream_step", most_registers(512, 1)},
    {"vp3d_stream_tall_f16", most_registers(128, 3)},
    {"vp3d_stream_tall_i8", most_registers(128, 3)},
    {"vp3d_stream_tile_f16", most_registers(128, 4)},
    {"vp3d_stream_tile_f32", most_registers(128, 3)},
    {"vp3d_stream_tile_i8", most_registers(128, 4)},
    {"vp3d_stream_wide_f16", most_registers(128, 2)},
    {"vp3d_stream_wide_i8", most_registers(128, 2)},
};

struct Resources {
  int registers = -1, stack = -1, spill_stores = -1, spill_loads = -1, shared = 0;

  std::string text() const {
    std::ostringstream out;
    out << registers << ' ' << stack << ' ' << spill_stores << ' ' << spill_loads << ' ' << shared;
    return out.str();
  }
};

using Table = std::map<std::string, Resources>;  // by "ARCHITECTURE KERNEL"

int number(const std::smatch& match, int group) { return std::stoi(match[group]); }

Table read_report(std::istream& report) {
  const std::regex entry("Compiling entry function '(\\w+)' for 'sm_(\\w+)'");
  const std::regex stack(
      "(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
  const std::regex used("Used (\\d+) registers"), shared("(\\d+) bytes smem");
  Table table;
  Resources* current = nullptr;
  std::smatch match;
  for (std::string line; std::getline(report, line);) {
    if (std::regex_search(line, match, entry))
      current = &table[match[2].str() + " " + match[1].str()];
    if (current == nullptr) continue;
    if (std::regex_search(line, match, stack)) {
      current->stack = number(match, 1);
      current->spill_stores = number(match, 2);
      current->spill_loads = number(match, 3);
    }
    if (std::regex_search(line, match, used)) current->registers = number(match, 1);
    if (std::regex_search(line, match, shared)) current->shared = number(match, 1);
  }
  return table;
}

// The version of nvcc that the table was made with is its first word.
Table read_table(std::istream& file, std::string& version) {
  Table table;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string first, kernel;
    words >> first >> kernel;
    if (first == "nvcc") {
      version = kernel;
      continue;
    }
    Resources r;
    words >> r.registers >> r.stack >> r.spill_stores >> r.spill_loads >> r.shared;
    CHECK(!words.fail());
    table[first + " " + kernel] = r;
  }
  return table;
}

// Whether what was found is as recorded.
bool holds(const Resources& found, Resources recorded, bool same_version, int most) {
  if (!same_version) {
    if (found.registers < 1 || found.registers > most) return false;
    recorded.registers = found.registers;
    recorded.stack = found.stack;
  }
  return found.text() == recorded.text();
}

void check_reading() {
  std::istringstream report(
      "ptxas info    : Compiling entry function 'vp3d_stream_step' for 'sm_87'\n"
      "ptxas info    : Function properties for vp3d_stream_step\n"
      "    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n"
      "ptxas info    : Used 130 registers, used 1 barriers, 1024 bytes smem, 388 bytes cmem[0]\n");
  Table table = read_report(report);
  const Resources found = table["87 vp3d_stream_step"];
  CHECK_EQUAL(found.text(), "130 16 8 4 1024");
  CHECK(holds(found, found, true, 128));
  CHECK(!holds(found, found, false, 128));  // too many registers
  CHECK(!holds(found, {130, 16, 0, 4, 1024}, true, 128));
  CHECK(!holds({100, 16, 8, 4, 1024}, {100, 16, 0, 0, 1024}, false, 128));
  CHECK(holds({100, 0, 0, 0, 0}, {90, 0, 0, 0, 0}, false, 128));
  CHECK_EQUAL(most_registers(512, 1), 128);
  CHECK_EQUAL(most_registers(128, 3), 168);
}

}  // namespace

int main(int n_arguments, char** arguments) {
  check_reading();
  if (n_arguments < 5) {
    std::cerr << "usage: test_cuda_resources REPORT TABLE NVCC_VERSION ARCHITECTURE..\n";
    return EXIT_FAILURE;
  }
  std::ifstream report(arguments[1]), file(arguments[2]);
  std::string version;
  const Table found = read_report(report), recorded = read_table(file, version);
  for (int i = 4; i < n_arguments; ++i) {
    // What tells engines that kernels for warpgroups are there, and takes nothing.
    const std::string architecture = arguments[i];
    CHECK_EQUAL(found.count(architecture + " vp3d_warpgroups"), architecture == "90a" ? 1U : 0U);
    for (const auto& [kernel, most] : kernels) {
      const std::string name = architecture + " " + kernel;
      const auto at = found.find(name), expected = recorded.find(name);
      CHECK(at != found.end());
      if (at == found.end()) continue;
      const bool right = expected != recorded.end() &&
                         holds(at->second, expected->second, version == arguments[3], most);
      const std::string was = expected == recorded.end() ? "nothing" : expected->second.text();
      vp3d::test::check(right, "recorded is " + was + ", found: " + name + " " + at->second.text(),
                        arguments[2], 1);
    }
  }
  return vp3d::test::result();
}
