// Numbers of the Python code, which tests/kernels/test_processing.py writes to processing.txt.
#pragma once

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "processing.hpp"
#include "reference_network.hpp"

namespace vp3d::test {

struct Golden {
  std::string source;
  cuda::Processing processing;
  std::int32_t features = 0;
  cuda::View view{};
  std::map<std::string, Floats> numbers;  // by the line's first word
};

inline cuda::View view_of(const std::map<std::string, Floats>& numbers) {
  cuda::View view{};
  const Floats& size = numbers.at("size");
  view.centre[0] = size[0] / 2;
  view.centre[1] = size[1] / 2;
  view.half = size[0] / 2;
  std::copy_n(numbers.at("rotation").begin(), 9, view.rotation);
  std::copy_n(numbers.at("position").begin(), 3, view.position);
  return view;
}

inline std::vector<Golden> read_golden(const std::string& file_path) {
  std::ifstream file(file_path);
  std::vector<Golden> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name == "#") continue;
    if (name == "case") {
      Golden& golden = all.emplace_back();
      words >> golden.source >> golden.features >> golden.processing.joints_seen >>
          golden.processing.parts;
      continue;
    }
    Floats& numbers = all.back().numbers[name];
    for (float number; words >> number;) numbers.push_back(number);
  }
  for (Golden& golden : all) {
    for (const float joint : golden.numbers["joints"])
      golden.processing.joints.push_back(static_cast<std::int32_t>(joint));
    golden.processing.shares = golden.numbers["shares"];
    golden.processing.add_trajectory = golden.processing.to_world = true;
    golden.view = view_of(golden.numbers);
  }
  return all;
}

}  // namespace vp3d::test
