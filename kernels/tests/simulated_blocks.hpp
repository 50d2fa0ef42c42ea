// Runs the blocks of a grid on the host, up to their barriers.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace vp3d::test {

// What a device would answer by waiting for ever.
class Hang : public std::logic_error {
 public:
  Hang() : std::logic_error("the grid hangs: a block ended while others wait for it") {}
};

// Calls body(block) for each block. The rest is for the bodies to call: a barrier, or its halves; a
// block goes on when all have arrived, and one that has arrived may do more before it waits.
class Blocks {
 public:
  virtual ~Blocks() = default;
  virtual void run(int blocks, const std::function<void(int)>& body) = 0;
  virtual void arrive(int block) = 0;
  virtual void await_others(int block) = 0;

  virtual void barrier(int block) {
    arrive(block);
    await_others(block);
  }
};

// One block at a time, until it arrives at a barrier, or waits there; which is next is drawn by
// chance. Where a barrier is missing, a block is therefore sometimes ahead of all others. Fibers, not
// threads: passing a turn on costs no wait for the operating system.
class TurnTaking : public Blocks {
 public:
  explicit TurnTaking(std::uint32_t seed) : random_(seed) {}

  void run(int blocks, const std::function<void(int)>& body) override {
    body_ = &body;
    fibers_.clear();
    for (int block = 0; block < blocks; ++block) start(block);
    std::vector<int> waiting;  // all that have not ended
    for (int block = 0; block < blocks; ++block) waiting.push_back(block);
    while (!waiting.empty()) {
      const std::size_t at = next(waiting);
      if (at == waiting.size()) break;
      Fiber& fiber = *fibers_[static_cast<std::size_t>(waiting[at])];
      resume(fiber);
      if (fiber.ended) waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (waiting.empty()) return;
    hangs_ = true;  // those that wait have something to clear away
    for (const int block : waiting) resume(*fibers_[static_cast<std::size_t>(block)]);
    throw Hang();
  }

  void arrive(int block) override {
    Fiber& fiber = *fibers_[static_cast<std::size_t>(block)];
    ++fiber.arrivals;
    give_way(fiber);
  }

  void await_others(int block) override {
    Fiber& fiber = *fibers_[static_cast<std::size_t>(block)];
    fiber.awaited = fiber.arrivals;
    give_way(fiber);
  }

  // Gives way once: nothing happens between the halves.
  void barrier(int block) override {
    ++fibers_[static_cast<std::size_t>(block)]->arrivals;
    await_others(block);
  }

 private:
  static constexpr std::size_t kStackBytes = 512 << 10;

  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack{new char[kStackBytes]};  // as it comes: zeros cost time
    bool ended = false;
    int arrivals = 0, awaited = 0;
  };

  // Which of these goes on, or none: those can to whose barrier all have come.
  std::size_t next(const std::vector<int>& waiting) {
    int all = fibers_[0]->arrivals;
    for (const auto& fiber : fibers_) all = std::min(all, fiber->arrivals);
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < waiting.size(); ++i)
      if (fibers_[static_cast<std::size_t>(waiting[i])]->awaited <= all) ready.push_back(i);
    return ready.empty() ? waiting.size() : ready[random_() % ready.size()];
  }

  void give_way(Fiber& fiber) {
    pass_on(fiber);
    if (hangs_) throw Hang();
  }

  // To a fiber, until it waits or ends, and back. AddressSanitizer is told of changes of stacks.
  void resume(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void* own = nullptr;
    __sanitizer_start_switch_fiber(&own, fiber.stack.get(), kStackBytes);
#endif
    swapcontext(&scheduler_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#endif
  }

  void come_from([[maybe_unused]] void* own) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  }

  void pass_on(Fiber& fiber) {
    void* own = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    // A fiber that has ended gives up what the sanitizer keeps for it.
    __sanitizer_start_switch_fiber(fiber.ended ? nullptr : &own, scheduler_stack_,
                                   scheduler_stack_bytes_);
#endif
    swapcontext(&fiber.context, &scheduler_);
    come_from(own);
  }

  void start(int block) {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    // makecontext takes ints only: a pointer goes in two.
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&fiber.context, reinterpret_cast<void (*)()>(&enter), 3,
                static_cast<unsigned>(self & 0xFFFFFFFFU),
                static_cast<unsigned>(static_cast<std::uint64_t>(self) >> 32), block);
  }

  static void enter(unsigned low, unsigned high, int block) {
    auto* self = reinterpret_cast<TurnTaking*>(
        static_cast<std::uintptr_t>(static_cast<std::uint64_t>(high) << 32 | low));
    self->come_from(nullptr);
    try {
      (*self->body_)(block);
    } catch (const Hang&) {  // `run` throws it
    }
    Fiber& fiber = *self->fibers_[static_cast<std::size_t>(block)];
    fiber.ended = true;
    self->pass_on(fiber);
  }

  std::mt19937 random_;
  const std::function<void(int)>* body_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  ucontext_t scheduler_{};
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  bool hangs_ = false;
};

// All blocks at once, as threads, for ThreadSanitizer: what two blocks do to the same memory
// without a barrier between is a race.
class AllAtOnce : public Blocks {
 public:
  void run(int blocks, const std::function<void(int)>& body) override {
    left_ = blocks;
    awaited_.assign(static_cast<std::size_t>(blocks), 0);
    std::vector<std::thread> threads;
    for (int block = 0; block < blocks; ++block)
      threads.emplace_back([&body, block] { body(block); });
    for (std::thread& thread : threads) thread.join();
  }

  void arrive(int block) override {
    const std::lock_guard lock(mutex_);
    awaited_[static_cast<std::size_t>(block)] = generation_ + 1;
    if (++arrived_ < left_) return;
    arrived_ = 0;
    ++generation_;
    changed_.notify_all();
  }

  void await_others(int block) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return generation_ >= awaited_[static_cast<std::size_t>(block)]; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int left_ = 0, arrived_ = 0;
  std::uint64_t generation_ = 0;
  std::vector<std::uint64_t> awaited_;  // by block
};

}  // namespace vp3d::test
