// A GPU's grid on the host, for the kernels of kernels/cuda.
//
// Blocks run as simulated_blocks.hpp says. Warps, lanes and threads of a block are loops that begin
// anywhere, and its barriers are the ends of the loops. Shared memory begins as rubbish, and staged
// weights arrive no sooner than they are waited for.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "simulated_blocks.hpp"
#include "stream_step.hpp"

namespace vp3d::test {

using cuda::kLanes;
using cuda::Number;
using cuda::Words;

// What is broken on purpose.
struct Faults {
  int barrier_left_out = -1;          // the n-th, by every block
  bool barrier_of_one_block = false;  // only block 0 comes to them
  int stage_not_awaited = -1;
};

// ThreadSanitizer does not know fibers, and has more to say of threads.
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

struct GridOptions {
  int warps = 2;
  std::uint32_t seed = 1;
  bool at_once = kThreadSanitizer;
  Faults faults;
};

class HostWarp {
 public:
  static constexpr bool kTensorCores = true;

  template <class T>
  struct PerLane {
    T value[kLanes];
    T& operator[](int lane) { return value[lane]; }
    const T& operator[](int lane) const { return value[lane]; }
  };

  HostWarp(int index, std::mt19937& random) : index_(index), random_(random) {}

  int index() const { return index_; }

  template <class F>
  void lanes(const F& f) {
    const int start = static_cast<int>(random_() % kLanes);
    for (int i = 0; i < kLanes; ++i) f((start + i) % kLanes);
  }

  template <class Sums>
  void sum_of_quarters(PerLane<Sums>& sums, int i) {
    for (const int mask : {1, 2}) {
      const PerLane<Sums> before = sums;
      for (int lane = 0; lane < kLanes; ++lane) sums[lane].of[i] += before[lane ^ mask].of[i];
    }
  }

  // Two mma.m16n8k16 (f16), m16n8k32 (s8) or m16n8k8 (f32, in three products of tf32), operands
  // placed as the PTX manual says: register r of A is row g + 8 (r % 2), of B row g; both hold k from
  // e q + 4 e (r / 2), e to a register.
  template <Number type, class Sums>
  void multiply_add(PerLane<Sums>& sums, const PerLane<Words>& low, const PerLane<Words>& high,
                    const PerLane<Words>& weights) {
    constexpr int each = static_cast<int>(4 / cuda::size_of(type));
    using Sum = typename cuda::Arithmetic<type>::Sum;
    for (int half = 0; half < 2; ++half) {
      Operand<type, Sum, 8 * each> a[16], b[8];
      for (int lane = 0; lane < kLanes; ++lane) {
        const int g = lane / 4, q = lane % 4;
        for (int pair = 0; pair < 2; ++pair) {
          for (int i = 0; i < each; ++i) {
            const int k = each * q + 4 * each * pair + i, word = 2 * half + pair;
            a[g].put(k, element<type>(low[lane].word[word], i));
            a[g + 8].put(k, element<type>(high[lane].word[word], i));
            b[g].put(k, element<type>(weights[lane].word[word], i));
          }
        }
      }
      // Registers 0 and 1 of C are row g, 2 and 3 row g + 8; columns 2q and 2q + 1.
      for (int lane = 0; lane < kLanes; ++lane)
        for (int r = 0; r < 4; ++r)
          add_products(sums[lane].of[r], a[lane / 4 + (r < 2 ? 0 : 8)],
                       b[lane % 4 * 2 + (r & 1)]);
    }
  }

 protected:
  std::mt19937& random() { return random_; }

 private:
  // A row of an operand; of float32 its two parts.
  template <Number type, class Sum, int n>
  struct Operand {
    static constexpr bool parts = type == Number::f32;
    Sum large[n] = {}, small[parts ? n : 1] = {};

    void put(int k, Sum value) {
      if constexpr (parts)
        cuda::split_for_tf32(value, large[k], small[k]);
      else
        large[k] = value;
    }
  };

  // What one mma adds to one accumulator. Tensor cores add up more exactly than float32 and then
  // round toward zero; device.cuh says why those of float32 end after three products. In half
  // precision it is far below what rounding the activations does, and left out.
  template <Number type, class Sum, int n>
  static void add_products(Sum& sum, const Operand<type, Sum, n>& a,
                           const Operand<type, Sum, n>& b) {
    if constexpr (type != Number::f32) {
      for (int k = 0; k < n; ++k) sum += a.large[k] * b.large[k];
    } else {
      float part = toward_zero(0.0F, a.small, b.large);
      part = toward_zero(part, a.large, b.small);
      sum += toward_zero(part, a.large, b.large);
    }
  }

  template <int n>
  static float toward_zero(float sum, const float (&a)[n], const float (&b)[n]) {
    double exact = sum;
    for (int k = 0; k < n; ++k) exact += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    const auto nearest = static_cast<float>(exact);
    return std::fabs(static_cast<double>(nearest)) > std::fabs(exact) ? std::nextafter(nearest, 0.0F)
                                                                     : nearest;
  }

  template <Number type>
  static auto element(std::uint32_t word, int i) {
    if constexpr (type == Number::f32)
      return cuda::bits_to<float>(word);
    else if constexpr (type == Number::f16)
      return cuda::half_to_float(static_cast<std::uint16_t>(word >> (16 * i)));
    else
      return static_cast<std::int32_t>(static_cast<std::int8_t>(word >> (8 * i)));
  }

  int index_;
  std::mt19937& random_;
};

class HostBlock {
 public:
  using Warp = HostWarp;

  HostBlock(int index, int blocks, std::int64_t staged_bytes, const GridOptions& options,
            Blocks* grid)
      : index_(index),
        blocks_(blocks),
        options_(options),
        random_(options.seed + static_cast<std::uint32_t>(index)),
        grid_(grid),
        partial_(cuda::kPartialBytes / sizeof(Words), kRubbish),
        near_((cuda::kNearTableBytes + cuda::kNearFrameBytes + cuda::kNearInputBytes) /
                  sizeof(Words),
              kRubbish),
        found_(cuda::kFoundBytes / 8, nullptr),
        endings_(cuda::kEndingBytes / sizeof(cuda::Ending)),
        shared_(static_cast<std::size_t>(staged_bytes) / sizeof(Words), kRubbish) {}

  int index() const { return index_; }
  int n_blocks() const { return blocks_; }
  int n_warps() const { return options_.warps; }
  std::byte* partial() { return reinterpret_cast<std::byte*>(partial_.data()); }
  std::byte* near_duties() { return reinterpret_cast<std::byte*>(shared_.data()); }
  const std::byte** found() { return found_.data(); }
  cuda::Ending* endings() { return endings_.data(); }

  std::byte* near_tables() { return reinterpret_cast<std::byte*>(near_.data()); }
  std::byte* near_frame() { return near_tables() + cuda::kNearTableBytes; }
  std::byte* near_inputs() { return near_frame() + cuda::kNearFrameBytes; }

  template <class F>
  void warps(const F& f) {
    const int start = static_cast<int>(random_() % static_cast<unsigned>(options_.warps));
    for (int i = 0; i < options_.warps; ++i) {
      HostWarp warp((start + i) % options_.warps, random_);
      f(warp);
    }
  }

  template <class F>
  void threads(const F& f) {
    const int n = options_.warps * kLanes;
    const int start = static_cast<int>(random_() % static_cast<unsigned>(n));
    for (int i = 0; i < n; ++i) f((start + i) % n);
  }

  // What a thread does without a barrier behind it, it does when another may be far ahead.
  template <class F>
  void own(const F& f) {
    threads(f);
  }

  void barrier() {}

  void arrive() {
    if (comes()) grid_->arrive(index_);
  }

  void await_others() {
    if (comes()) grid_->await_others(index_);
    ++barriers_;
  }

  void begin_staging(const std::byte* image, const cuda::Duties& duties) {
    image_ = image;
    for (int phase = 0; phase < duties.phases; ++phase) stages_.push_back(duties.stage(phase));
  }

  void fetch_rest(const std::byte*, const cuda::Duties&) {}

  void await_stage(int phase) {
    if (phase == options_.faults.stage_not_awaited) return;
    const cuda::Stage& stage = stages_[static_cast<std::size_t>(phase)];
    if (stage.bytes > 0)
      std::memcpy(near_duties() + stage.to, image_ + stage.from,
                  static_cast<std::size_t>(stage.bytes));
  }

 private:
  static constexpr Words kRubbish{{~0U, ~0U, ~0U, ~0U}};  // NaN, in each type that has one

  bool comes() const {
    return barriers_ != options_.faults.barrier_left_out &&
           (!options_.faults.barrier_of_one_block || index_ == 0);
  }

  const int index_, blocks_;
  const GridOptions& options_;
  std::mt19937 random_;
  Blocks* grid_;
  int barriers_ = 0;
  std::vector<Words> partial_, near_;
  std::vector<const std::byte*> found_;
  std::vector<cuda::Ending> endings_;
  std::vector<Words> shared_;
  const std::byte* image_ = nullptr;
  std::vector<cuda::Stage> stages_;
};

// One cooperative launch. Throws Hang where a device would. (These are in simulated_kernels.cpp.)
void launch_step(const cuda::Arguments& arguments, const GridOptions& options);

// The ordinary launch of one phase: blocks in the order given.
void launch_phase(const cuda::Arguments& arguments, int phase, const GridOptions& options,
                  const std::vector<int>& order);

// The same as launch_step as one ordinary launch for each phase, blocks in an order drawn by chance,
// and launches before and behind where there is processing.
void launch_phases(const cuda::Arguments& arguments, const GridOptions& options);

}  // namespace vp3d::test
