// What blocks of one launch leave for each other in device memory (cuda/stream_split.hpp), with as
// little order as the device promises: what a warp has left is the block's behind a barrier, in memory
// when one of the block's threads arrives behind that, and seen by others who arrive later, and by
// their blocks behind a barrier. What nobody waits for comes when the launch is over.
#pragma once

#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <unordered_set>
#include <vector>

#include "layout.hpp"

namespace vp3d::test {

// What is broken on purpose: of all arrivals.
struct ExchangeFaults {
  bool release_left_out = false;
  bool acquire_left_out = false;
  bool reset_left_out = false;
};

struct LeftSums {
  std::byte* to;
  cuda::Words words;

  void land() const { std::memcpy(to, &words, sizeof words); }
};

// Of a launch.
class LaunchExchange {
 public:
  ~LaunchExchange() {
    for (const LeftSums& left : late_) left.land();
  }

  void note(std::byte* to) {
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof(cuda::Words) != 0)
      throw std::logic_error("sums are left at an address that is not aligned");
    const std::lock_guard lock(mutex_);
    if (!taken_.insert(to).second) throw std::logic_error("two leave their sums in one place");
  }
  void land_late(const std::vector<LeftSums>& left) {
    const std::lock_guard lock(mutex_);
    late_.insert(late_.end(), left.begin(), left.end());
  }

 private:
  std::mutex mutex_;
  std::unordered_set<std::byte*> taken_;
  std::vector<LeftSums> late_;
};

// Of one of its blocks.
class BlockExchange {
 public:
  BlockExchange(LaunchExchange& launch, const ExchangeFaults& faults)
      : launch_(launch), faults_(faults) {}
  ~BlockExchange() { launch_.land_late(left_); }

  void note(std::byte* to) { launch_.note(to); }

  // At a barrier of the block, by each warp.
  void publish(std::vector<LeftSums>& of_warp) {
    const std::lock_guard lock(mutex_);
    left_.insert(left_.end(), of_warp.begin(), of_warp.end());
    of_warp.clear();
  }
  bool sees_others() {
    const std::lock_guard lock(mutex_);
    return acquired_;
  }

  // Counts from 0 to splits - 1, and then from 0 again.
  bool arrives_last(std::uint32_t* arrived, int splits) {
    const std::lock_guard lock(mutex_);
    if (!faults_.release_left_out) {
      for (const LeftSums& left : left_) left.land();
      left_.clear();
    }
    const std::uint32_t before = *arrived, last = static_cast<std::uint32_t>(splits) - 1;
    *arrived = before >= last && !faults_.reset_left_out ? 0 : before + 1;
    acquired_ = !faults_.acquire_left_out;
    return before == last;
  }

 private:
  LaunchExchange& launch_;
  const ExchangeFaults& faults_;
  std::mutex mutex_;
  std::vector<LeftSums> left_;
  bool acquired_ = false;
};

}  // namespace vp3d::test
