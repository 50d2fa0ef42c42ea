// Compares the C++ stream plans with those of vp3d_deploy/plan.py, which
// tests/kernels/test_stream_plans.py writes to and checks against stream_plans.txt.
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "vp3d/plan.hpp"

namespace {

const char* name_of(vp3d::Column column) {
  switch (column) {
    case vp3d::Column::True: return "true";
    case vp3d::Column::Straddling: return "straddling";
    case vp3d::Column::Constant: return "constant";
  }
  return "?";
}

std::string text_of(const vp3d::StreamPlan& plan) {
  std::ostringstream text;
  text << "rings";
  for (const auto length : plan.ring_lengths) text << ' ' << length;
  text << "\nanswer " << name_of(plan.answer) << '\n';
  for (std::size_t level = 0; level < plan.levels.size(); ++level) {
    for (const auto& column : plan.levels[level].columns) {
      text << "level " << level << ' ' << name_of(column.kind) << ':';
      for (const auto& tap : column.taps) {
        text << ' ';
        if (tap.age > 0) text << "ring-" << tap.age;
        else text << name_of(tap.column);
      }
      text << '\n';
    }
  }
  return text.str();
}

// "plan causal=0 lag=1 widths=3,3,3"
vp3d::StreamPlan plan_from_header(const std::string& header) {
  vp3d::ModelSpec spec;
  spec.channels = 1;
  std::int64_t lag = 0;
  std::istringstream words(header);
  for (std::string word; words >> word;) {
    const std::string value = word.substr(word.find('=') + 1);
    if (word.rfind("causal=", 0) == 0) spec.causal = value == "1";
    if (word.rfind("lag=", 0) == 0) lag = std::stoll(value);
    if (word.rfind("widths=", 0) == 0) {
      std::istringstream widths(value);
      for (std::string width; std::getline(widths, width, ',');)
        spec.filter_widths.push_back(std::stoll(width));
    }
  }
  return vp3d::stream_plan(spec, lag);
}

bool refuses(const vp3d::ModelSpec& spec, std::int64_t lag) {
  try {
    vp3d::stream_plan(spec, lag);
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

int check_refusals() {
  int failures = 0;
  const auto expect = [&failures](bool holds, const char* what) {
    if (holds) return;
    std::cerr << "not refused: " << what << '\n';
    ++failures;
  };
  vp3d::ModelSpec good{{3, 3}, 8, 17, 2, 17, false};
  expect(refuses(good, 5), "a lag beyond the lookahead");
  expect(refuses(good, -1), "a negative lag");
  vp3d::ModelSpec causal = good;
  causal.causal = true;
  expect(refuses(causal, 1), "a lag of a causal network");
  vp3d::ModelSpec even = good;
  even.filter_widths = {3, 4};
  expect(refuses(even, 0), "an even width");
  vp3d::ModelSpec huge = good;
  huge.filter_widths.assign(16, 99'999);
  expect(refuses(huge, 0), "a receptive field that overflows");
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: test_plan stream_plans.txt\n";
    return 2;
  }
  std::ifstream file(argv[1]);
  std::string line, header, expected;
  int compared = 0, failures = check_refusals();
  const auto compare = [&] {
    if (header.empty()) return;
    ++compared;
    const std::string found = text_of(plan_from_header(header));
    if (found == expected) return;
    ++failures;
    std::cerr << header << "\nexpected\n" << expected << "found\n" << found;
  };
  while (std::getline(file, line)) {
    if (line.rfind("plan ", 0) == 0) {
      compare();
      header = line;
      expected.clear();
    } else if (!line.empty() && line[0] != '#') {
      expected += line + '\n';
    }
  }
  compare();
  std::cout << compared << " plans compared, " << failures << " failures\n";
  return compared > 0 && failures == 0 ? 0 : 1;
}
