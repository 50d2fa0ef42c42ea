// Memory that is rubbish to a block until it has waited for whoever writes it.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

namespace vp3d::test {

using Region = std::pair<std::byte*, std::size_t>;

// What a block writes before it waits is lost.
class HiddenMemory {
 public:
  explicit HiddenMemory(const std::vector<Region>& regions) {
    for (const Region& region : regions) {
      if (region.second == 0) continue;
      regions_.push_back(region);
      kept_.emplace_back(region.second);
    }
  }
  ~HiddenMemory() { reveal(); }

  // Once for each block, when the first of its warps begins.
  void hide(int block) {
    if (block == block_ || regions_.empty()) return;
    reveal();
    block_ = block;
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      std::memcpy(kept_[i].data(), regions_[i].first, regions_[i].second);
      std::memset(regions_[i].first, 0xFF, regions_[i].second);
    }
    hidden_ = true;
  }

  void reveal() {
    if (!hidden_) return;
    hidden_ = false;
    for (std::size_t i = 0; i < regions_.size(); ++i)
      std::memcpy(regions_[i].first, kept_[i].data(), regions_[i].second);
  }

 private:
  std::vector<Region> regions_;
  std::vector<std::vector<std::byte>> kept_;
  int block_ = -1;
  bool hidden_ = false;
};

}  // namespace vp3d::test
