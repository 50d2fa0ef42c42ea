// A warp of the kernels for windows, sequences and many streams on the host.
//
// Asynchronous copies make their destination rubbish at once, and land when their warp waits for
// them: what is read too soon, and what is still read while a copy to it is under way, shows.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "clip_group.hpp"
#include "simulated_exchange.hpp"
#include "simulated_grid.hpp"

namespace vp3d::test {

// What is broken on purpose: the n-th of each warp.
struct ClipFaults {
  int barrier_left_out = -1;
  int await_left_out = -1;
  // Of warpgroups.
  int publish_left_out = -1;
  ExchangeFaults exchange;
  // Of launches that overlap.
  bool launch_not_awaited = false;
};

// Of a block: as its threads see it, and as instructions do that read it by themselves.
struct SharedMemory {
  explicit SharedMemory(std::int64_t bytes)
      : words(static_cast<std::size_t>(bytes) / sizeof(Words), Words{{~0U, ~0U, ~0U, ~0U}}),
        published(words) {}

  std::byte* at(int offset, std::size_t bytes) { return within(words, offset, bytes); }
  std::byte* published_at(int offset, std::size_t bytes) {
    return within(published, offset, bytes);
  }

  std::vector<Words> words, published;

 private:
  static std::byte* within(std::vector<Words>& memory, int offset, std::size_t bytes) {
    if (offset < 0 || static_cast<std::size_t>(offset) + bytes > memory.size() * sizeof(Words))
      throw std::logic_error("beyond the end of shared memory");
    return reinterpret_cast<std::byte*>(memory.data()) + offset;
  }
};

class HostClipWarp : public HostWarp {
 public:
  HostClipWarp(int index, std::mt19937& random, SharedMemory& shared, BlockExchange& exchange,
               Blocks& block, const ClipFaults& faults)
      : HostWarp(index, random),
        shared_(shared),
        exchange_(exchange),
        block_(block),
        faults_(faults) {}
  ~HostClipWarp() { exchange_.publish(left_); }

  void barrier() {
    if (barriers_++ == faults_.barrier_left_out) return;
    exchange_.publish(left_);
    block_.barrier(index());
    sees_others_ = exchange_.sees_others();
  }

  void sync() {}

  Words fetch(int offset) const { return get<Words>(offset); }
  template <class T>
  T get(int offset) const {
    T value;
    std::memcpy(&value, at(offset, sizeof value), sizeof value);
    return value;
  }
  template <class T>
  void put(int offset, T value) {
    std::memcpy(at(offset, sizeof value), &value, sizeof value);
  }

  // What the launch before wrote is hidden until then, from the whole block: its first warp has run up
  // to here before any other begins.
  void await_previous_launch() {
    awaited_ = true;
    if (!faults_.launch_not_awaited && reveal_) reveal_();
  }
  void let_next_launch_begin() {
    if (!awaited_) throw std::logic_error("the next launch may begin before the last has ended");
    lets_next_begin_ = true;
  }
  // Of a launch that may overlap with others.
  void check_order() const {
    if (!lets_next_begin_) throw std::logic_error("a warp does not wait for the launch before");
  }
  void hide_until_awaited(std::function<void()> reveal) { reveal_ = std::move(reveal); }

  // Of other blocks nothing is seen before.
  void leave(std::byte* to, const Words& sums) {
    exchange_.note(to);
    left_.push_back({to, sums});
  }
  Words collect(const std::byte* from) const {
    Words sums{{~0U, ~0U, ~0U, ~0U}};
    if (sees_others_) std::memcpy(&sums, from, sizeof sums);
    return sums;
  }
  bool arrives_last(std::uint32_t* arrived, int splits) {
    return exchange_.arrives_last(arrived, splits);
  }

  void copy(int to, const std::byte* from, bool there) { begin(to, there ? from : nullptr, 16); }
  void copy_number(int to, const std::byte* from, bool there) {
    begin(to, there ? from : nullptr, 4);
  }
  void end_copies() {
    groups_.push_back(std::move(group_));
    group_.clear();
  }

  void await_copies(int left) {
    if (awaits_++ == faults_.await_left_out) return;
    for (; groups_.size() > static_cast<std::size_t>(left); groups_.pop_front())
      for (const Copy& copy : groups_.front()) {
        if (copy.from == nullptr)
          std::memset(at(copy.to, copy.bytes), 0, copy.bytes);
        else
          std::memcpy(at(copy.to, copy.bytes), copy.from, copy.bytes);
        landed_.push_back(copy);
      }
  }

  void publish_copies() {
    if (publishes_++ == faults_.publish_left_out) return;
    for (const Copy& copy : landed_)
      std::memcpy(shared_.published_at(copy.to, copy.bytes), at(copy.to, copy.bytes), copy.bytes);
    landed_.clear();
  }

  void begin_products() {}

  // What a warp of a group has of wgmma.m64n128k16 (f16) or k32 (s8); it happens at once, or as late as
  // it may.
  template <Number type, class Sums>
  void multiply_group(Sums (&sums)[16], int columns, int rows) {
    const std::uint64_t a = cuda::group_operand(static_cast<std::uint32_t>(columns)),
                        b = cuda::group_operand(static_cast<std::uint32_t>(rows));
    if (random()() % 2 == 0)
      group_product<type>(sums, a, b);
    else
      products_.push_back([this, &sums, a, b] { group_product<type>(sums, a, b); });
  }

  void end_products() {
    product_groups_.push_back(std::move(products_));
    products_.clear();
  }

  void await_products(int left) {
    for (; product_groups_.size() > static_cast<std::size_t>(left); product_groups_.pop_front())
      for (const auto& product : product_groups_.front()) product();
  }

 private:
  struct Copy {
    int to;
    const std::byte* from;
    std::size_t bytes;
  };

  std::byte* at(int offset, std::size_t bytes) const { return shared_.at(offset, bytes); }

  void begin(int to, const std::byte* from, std::size_t bytes) {
    if (reinterpret_cast<std::uintptr_t>(from) % bytes != 0)
      throw std::logic_error("a copy from an address that is not aligned");
    std::memset(at(to, bytes), 0xFF, bytes);
    std::memset(shared_.published_at(to, bytes), 0xFF, bytes);
    group_.push_back({to, from, bytes});
  }

  // Byte `byte` of row `row` of an operand, as the PTX manual has descriptors and the swizzle of 64
  // bytes: bits 4 and 5 of an address are exchanged by bits 7 and 8.
  std::byte operand_byte(std::uint64_t operand, int row, int byte) const {
    if (operand >> 62 != 2) throw std::logic_error("an operand that is not swizzled by 64 bytes");
    const auto start = static_cast<int>((operand & 0x3FFF) << 4);
    const auto stride = static_cast<int>((operand >> 32 & 0x3FFF) << 4);
    const int address = start + row / 8 * stride + row % 8 * 64 + byte;
    return *shared_.published_at(address ^ (address >> 7 & 3) << 4, 1);
  }

  template <Number type>
  auto operand_number(std::uint64_t operand, int row, int k) const {
    if constexpr (type == Number::f16) {
      std::byte bytes[2] = {operand_byte(operand, row, 2 * k), operand_byte(operand, row, 2 * k + 1)};
      std::uint16_t half;
      std::memcpy(&half, bytes, sizeof half);
      return cuda::half_to_float(half);
    } else {
      return static_cast<std::int32_t>(
          static_cast<std::int8_t>(std::to_integer<int>(operand_byte(operand, row, k))));
    }
  }

  // Warp w of its group has rows 16w .. 16w+15 of the 64, spread over lanes and registers as those of
  // mma.m16n8, for each 8 of the 128.
  template <Number type, class Sums>
  void group_product(Sums (&sums)[16], std::uint64_t a, std::uint64_t b) const {
    constexpr int depth = static_cast<int>(32 / cuda::size_of(type));
    using Sum = typename cuda::Arithmetic<type>::Sum;
    std::vector<Sum> left, right;
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < depth; ++k)
        left.push_back(operand_number<type>(a, index() % 4 * 16 + row, k));
    for (int row = 0; row < 128; ++row)
      for (int k = 0; k < depth; ++k) right.push_back(operand_number<type>(b, row, k));
    for (int tile = 0; tile < 16; ++tile)
      for (int lane = 0; lane < kLanes; ++lane)
        for (int r = 0; r < 4; ++r) {
          const auto column = static_cast<std::size_t>(lane / 4 + (r < 2 ? 0 : 8));
          const auto row = static_cast<std::size_t>(tile * 8 + lane % 4 * 2 + (r & 1));
          for (std::size_t k = 0; k < depth; ++k)
            sums[tile][lane].of[r] += left[column * depth + k] * right[row * depth + k];
        }
  }

  SharedMemory& shared_;
  BlockExchange& exchange_;
  Blocks& block_;
  const ClipFaults& faults_;
  int barriers_ = 0, awaits_ = 0, publishes_ = 0;
  bool sees_others_ = false, awaited_ = false, lets_next_begin_ = false;
  std::function<void()> reveal_;
  std::vector<LeftSums> left_;
  std::vector<Copy> group_, landed_;
  std::deque<std::vector<Copy>> groups_;
  std::vector<std::function<void()>> products_;
  std::deque<std::vector<std::function<void()>>> product_groups_;
};

}  // namespace vp3d::test
