// How far answers of the CUDA kernels may be from the definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "vp3d/engine.hpp"

namespace vp3d::test {

// Rounding to half precision or 8 bits may fall on the other side than in float64: rarely, and an
// answer then moves by one step of a few values.
struct Comparison {
  std::size_t values = 0, off = 0;
  double worst = 0;

  void operator()(double found, double expected) {
    const double error = std::fabs(found - expected);
    worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
    off += error <= 1e-5 ? 0 : 1;
    ++values;
  }

  bool holds(Precision precision) const {
    if (values == 0) return false;
    if (precision == Precision::fp32) return off == 0;
    return worst < (precision == Precision::int8 ? 0.2 : 4e-3) && off * 2 < values;
  }

  std::string text() const {
    return std::to_string(off) + " of " + std::to_string(values) + " off, worst " +
           std::to_string(worst);
  }
};

// The most that answers may differ from those of the native engine, which rounds no activations to
// half precision.
inline double native_limit(Precision precision) {
  return precision == Precision::fp32 ? 1e-5 : precision == Precision::fp16 ? 1e-2 : 0.2;
}

}  // namespace vp3d::test
