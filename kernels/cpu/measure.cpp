#include "measure.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <vector>

#include "isa.hpp"
#include "memory.hpp"
#include "thread_pool.hpp"

namespace vp3d::cpu {
namespace {

constexpr std::int64_t kReadUnit = 4096;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

struct MemoryReader::Parts {
  std::shared_ptr<ThreadPool> pool;
  Memory data;
  std::int64_t units = 0;
  bool ahead = false;
  std::atomic<std::uint64_t> sum{0};  // so that reading cannot be left out
};

MemoryReader::MemoryReader(std::int64_t bytes, int threads) : parts_(std::make_unique<Parts>()) {
  if (bytes < kReadUnit || bytes > (std::int64_t{1} << 40))
    throw std::invalid_argument("bytes to read must be " + std::to_string(kReadUnit) +
                                " to 2^40, not " + std::to_string(bytes));
  parts_->pool = ThreadPool::shared(threads, false);
  parts_->units = bytes / kReadUnit;
  parts_->data = allocate(parts_->units * kReadUnit);
  // Pages that were never written are all one page of zeros, and would be read from the cache.
  for (std::int64_t unit = 0; unit < parts_->units; ++unit)
    for (std::int64_t at = 0; at < kReadUnit; at += 64)
      parts_->data[static_cast<std::size_t>(unit * kReadUnit + at)] = std::byte{1};
  // Which way is faster here: the best of a few turns of each, after one that wakes the threads.
  constexpr int kTurns = 5;
  double best[2];
  best[0] = best[1] = std::numeric_limits<double>::infinity();
  read();
  for (int turn = 0; turn < 2 * kTurns; ++turn) {
    parts_->ahead = turn % 2 == 1;
    best[turn % 2] = std::min(best[turn % 2], read());
  }
  parts_->ahead = best[1] < best[0];
}

MemoryReader::~MemoryReader() = default;

double MemoryReader::read() {
  Parts& parts = *parts_;
  const KernelSet& kernels = find_kernels("auto");
  const auto start = std::chrono::steady_clock::now();
  parts.pool->run([&](int thread) {
    const std::int64_t n = parts.pool->threads();
    const std::int64_t begin = parts.units * thread / n, end = parts.units * (thread + 1) / n;
    parts.sum += kernels.read(parts.data.get() + begin * kReadUnit, (end - begin) * kReadUnit,
                               parts.ahead);
  });
  return seconds_since(start);
}

std::vector<double> multiply_add_rates(const std::string& kind, int threads) {
  if (kind != "fp32" && kind != "int8")
    throw std::invalid_argument("multiply-adds are measured in \"fp32\" or \"int8\", not \"" +
                                kind + '"');
  const KernelSet& kernels = find_kernels("auto");
  const auto loop = kind == "fp32" ? kernels.multiply_add_f32 : kernels.multiply_add_i8;
  const auto pool = ThreadPool::shared(threads, false);
  constexpr std::int64_t kRepeats = 2'000;
  constexpr double kWaking = 0.02;  // until threads are spread and clocks have risen
  constexpr double kSeconds = 0.1;
  std::vector<double> rates;
  const auto begin = std::chrono::steady_clock::now();
  for (double elapsed = 0; elapsed < kWaking + kSeconds || rates.empty();) {
    std::atomic<std::int64_t> total{0};
    const auto start = std::chrono::steady_clock::now();
    pool->run([&](int) {
      alignas(kAlignment) float sink[16];
      total += loop(kRepeats, sink);
    });
    const double rate = static_cast<double>(total) / seconds_since(start);
    elapsed = seconds_since(begin);
    if (elapsed > kWaking) rates.push_back(rate);
  }
  return rates;
}

}  // namespace vp3d::cpu
