// The architecture of a VideoPose3D network, as vp3d_deploy/spec.py describes it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace vp3d {

struct ModelSpec {
  std::vector<std::int64_t> filter_widths;  // f0 .. fn, all odd
  std::int64_t channels = 0;
  std::int64_t joints_in = 17;
  std::int64_t features = 2;
  std::int64_t joints_out = 17;
  bool causal = false;

  // R, the frames that one answer depends on.
  std::int64_t receptive_field() const {
    std::int64_t product = 1;
    for (const std::int64_t width : filter_widths) product *= width;
    return product;
  }

  // d_k, the spacing at which level k reads the level below.
  std::vector<std::int64_t> dilations() const {
    std::vector<std::int64_t> result;
    std::int64_t product = 1;
    for (const std::int64_t width : filter_widths) {
      result.push_back(product);
      product *= width;
    }
    return result;
  }

  // Frames after t that the answer for t depends on; also the largest lag of a stream.
  std::int64_t lookahead() const { return causal ? 0 : (receptive_field() - 1) / 2; }

  // Which tap of a level the residual adds.
  std::int64_t residual_tap(std::size_t level) const {
    const std::int64_t width = filter_widths.at(level);
    return causal ? width - 1 : width / 2;
  }

  // Throws std::invalid_argument for what no network of this family can be. No size computed from
  // a spec that passes overflows 64 bits.
  void validate() const {
    constexpr std::int64_t max_receptive_field = 100'000;
    if (filter_widths.empty() || filter_widths.size() > 16)
      throw std::invalid_argument("a network has 1 to 16 filter widths, not " +
                                  std::to_string(filter_widths.size()));
    std::int64_t product = 1;
    for (const std::int64_t width : filter_widths) {
      if (width < 1 || width % 2 == 0 || width > max_receptive_field)
        throw std::invalid_argument("filter widths must be odd and positive, not " +
                                    std::to_string(width));
      product *= width;
      if (product > max_receptive_field)
        throw std::invalid_argument("the receptive field exceeds " +
                                    std::to_string(max_receptive_field) + " frames");
    }
    const auto check = [](std::int64_t value, std::int64_t limit, const char* name) {
      if (value < 1 || value > limit)
        throw std::invalid_argument(std::string(name) + " must be 1 to " + std::to_string(limit) +
                                    ", not " + std::to_string(value));
    };
    check(channels, 65'536, "channels");
    check(joints_in, 1'024, "joints_in");
    check(features, 16, "features");
    check(joints_out, 1'024, "joints_out");
  }
};

}  // namespace vp3d
