// Runs the blocks of a grid on the host, up to their barriers.
#pragma once

#include <ucontext.h>

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

// Calls body(block) for each block; `barrier` is for the bodies to call.
class Blocks {
 public:
  virtual ~Blocks() = default;
  virtual void run(int blocks, const std::function<void(int)>& body) = 0;
  virtual void barrier(int block) = 0;
};

// One block at a time, until its next barrier; which is next is drawn by chance. Where a barrier is
// missing, a block is therefore sometimes ahead of all others. Fibers, not threads: passing a turn
// on costs no wait for the operating system.
class TurnTaking : public Blocks {
 public:
  explicit TurnTaking(std::uint32_t seed) : random_(seed) {}

  void run(int blocks, const std::function<void(int)>& body) override {
    body_ = &body;
    fibers_.clear();
    for (int block = 0; block < blocks; ++block) start(block);
    std::vector<int> ready(fibers_.size());
    for (std::size_t i = 0; i < ready.size(); ++i) ready[i] = static_cast<int>(i);
    std::vector<int> waiting;
    while (!ready.empty()) {
      const std::size_t at = random_() % ready.size();
      const int turn = ready[at];
      ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(at));
      Fiber& fiber = *fibers_[static_cast<std::size_t>(turn)];
      resume(fiber);
      if (!fiber.ended) waiting.push_back(turn);
      if (ready.empty() && waiting.size() == fibers_.size()) ready.swap(waiting);
    }
    if (waiting.empty()) return;
    hangs_ = true;  // those that wait have something to clear away
    for (const int block : waiting) resume(*fibers_[static_cast<std::size_t>(block)]);
    throw Hang();
  }

  void barrier(int block) override {
    pass_on(*fibers_[static_cast<std::size_t>(block)]);
    if (hangs_) throw Hang();
  }

 private:
  static constexpr std::size_t kStackBytes = 512 << 10;

  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack{new char[kStackBytes]};  // as it comes: zeros cost time
    bool ended = false;
  };

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

  void arrive([[maybe_unused]] void* own) {
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
    arrive(own);
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
    self->arrive(nullptr);
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
    std::vector<std::thread> threads;
    for (int block = 0; block < blocks; ++block)
      threads.emplace_back([&body, block] { body(block); });
    for (std::thread& thread : threads) thread.join();
  }

  void barrier(int) override {
    std::unique_lock lock(mutex_);
    const std::uint64_t generation = generation_;
    if (++arrived_ == left_) {
      arrived_ = 0;
      ++generation_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return generation_ != generation; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int left_ = 0, arrived_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace vp3d::test
