#include "thread_pool.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cores.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vp3d::cpu {
namespace {

// Long enough to stay awake from frame to frame of a recording; short beside a camera's period.
constexpr auto kSpinBetweenRuns = std::chrono::microseconds(150);
// Checks of a barrier before the core is offered to others: more threads than cores must not stall
// each other for whole time slices.
constexpr int kSpinsBeforeYield = 500;
// Of the bits that count taken units, how many count units; the others count barriers.
constexpr int kUnitBits = 24;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Where the system refuses, the thread stays where it may be anyway.
void keep_on(std::thread& thread, const std::vector<int>& cores) {
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
#else
  static_cast<void>(thread), static_cast<void>(cores);
#endif
}

// All pools, for the child of a fork. The mutex is held across fork(), so the list is whole.
struct Registry {
  std::mutex mutex;
  std::vector<ThreadPool*> pools;
  std::map<std::pair<int, bool>, std::weak_ptr<ThreadPool>> shared;
};

Registry& registry() {
  static Registry* const instance = [] {
    auto* made = new Registry;  // never destroyed: pools may outlive static destructors
    pthread_atfork([] { registry().mutex.lock(); }, [] { registry().mutex.unlock(); },
                   [] {
                     for (ThreadPool* pool : registry().pools) pool->restart_after_fork();
                     registry().mutex.unlock();
                   });
    return made;
  }();
  return *instance;
}

}  // namespace

struct ThreadPool::Crew {
  explicit Crew(int threads) : taken(static_cast<std::size_t>(threads)) {}

  std::mutex turn;  // of callers of `run`

  std::mutex mutex;
  std::condition_variable wake;
  int sleepers = 0;
  std::vector<std::thread> workers;
  std::vector<int> cores;   // that this process may use
  std::vector<int> others;  // but the caller's
  int avoided = -1;         // the caller's core, which the workers are kept off

  Function work = nullptr;
  void* context = nullptr;
  alignas(64) std::atomic<std::uint64_t> generation{0};  // how many runs have begun
  std::atomic<bool> stop{false};
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<std::uint64_t> passed{0};  // barriers
  // Of each thread's units, how many are taken, and since which barrier: so none has to be set back.
  struct alignas(64) Taken {
    std::atomic<std::uint64_t> units{0};
  };
  std::vector<Taken> taken;
};

std::shared_ptr<ThreadPool> ThreadPool::shared(int threads, bool pin) {
  Registry& all = registry();
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (auto pool = all.shared[{threads, pin}].lock()) return pool;
  }
  auto pool = std::make_shared<ThreadPool>(threads, pin);
  const std::lock_guard<std::mutex> lock(all.mutex);
  auto& held = all.shared[{threads, pin}];
  if (auto other = held.lock()) return other;  // another thread was faster
  held = pool;
  return pool;
}

ThreadPool::ThreadPool(int threads, bool pin)
    : threads_(threads), pin_(pin) {
  if (threads < 1)
    throw std::invalid_argument("threads must be at least 1, not " + std::to_string(threads));
  crew_ = std::make_unique<Crew>(threads);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().pools.push_back(this);
}

ThreadPool::~ThreadPool() {
  {
    Registry& all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.pools.erase(std::find(all.pools.begin(), all.pools.end(), this));
  }
  dismiss();
}

void ThreadPool::restart_after_fork() {
  // The old crew's threads do not exist here, and its mutexes may be held by them: it is left as
  // it is, and never freed.
  static_cast<void>(crew_.release());
  crew_ = std::make_unique<Crew>(threads_);
}

void ThreadPool::barrier() {
  Crew& crew = *crew_;
  const std::uint64_t before = crew.passed.load(std::memory_order_acquire);
  if (crew.arrived.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    crew.arrived.store(0, std::memory_order_relaxed);
    crew.passed.store(before + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; crew.passed.load(std::memory_order_acquire) == before; ++spins) {
    if (spins < kSpinsBeforeYield) relax();
    else std::this_thread::yield();
  }
}

std::int64_t ThreadPool::take_unit(int owner, std::int64_t units) {
  Crew& crew = *crew_;
  std::atomic<std::uint64_t>& taken = crew.taken[static_cast<std::size_t>(owner)].units;
  // Nobody passes a barrier before this thread comes to it.
  const std::uint64_t none = crew.passed.load(std::memory_order_relaxed) << kUnitBits;
  std::uint64_t seen = taken.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t now = seen >> kUnitBits == none >> kUnitBits ? seen : none;
    const auto unit = static_cast<std::int64_t>(now - none);
    if (unit >= units) return -1;
    if (taken.compare_exchange_weak(seen, now + 1, std::memory_order_relaxed)) return unit;
  }
}

void ThreadPool::start() {
  Crew& crew = *crew_;
  crew.cores = allowed_cores();
  crew.others.reserve(crew.cores.size());
  crew.avoided = -1;
  try {
    for (int thread = 1; thread < threads_; ++thread) {
      crew.workers.emplace_back([this, thread] { serve(thread); });
      if (pin_ && !crew.cores.empty())
        keep_on(crew.workers.back(),
                {crew.cores[static_cast<std::size_t>(thread) % crew.cores.size()]});
    }
  } catch (...) {
    // A barrier counts all threads, so some are worth nothing: the next run tries again.
    dismiss();
    crew.workers.clear();
    crew.stop.store(false);
    crew.generation.store(0);
    throw;
  }
}

void ThreadPool::make_way() {
#ifdef __linux__
  Crew& crew = *crew_;
  const int core = sched_getcpu();
  if (pin_ || core == crew.avoided || crew.cores.size() < static_cast<std::size_t>(threads_))
    return;
  crew.others.clear();  // within what `start` reserved: a frame allocates nothing
  std::copy_if(crew.cores.begin(), crew.cores.end(), std::back_inserter(crew.others),
               [core](int one) { return one != core; });
  for (std::thread& worker : crew.workers) keep_on(worker, crew.others);
  crew.avoided = core;
#endif
}

void ThreadPool::dismiss() {
  Crew& crew = *crew_;
  {
    const std::lock_guard<std::mutex> lock(crew.mutex);
    crew.stop.store(true);
    crew.generation.fetch_add(1);
  }
  crew.wake.notify_all();
  for (std::thread& worker : crew.workers) worker.join();
}

void ThreadPool::serve(int thread) {
  Crew& crew = *crew_;
  for (std::uint64_t seen = 0;; ++seen) {
    const auto until = std::chrono::steady_clock::now() + kSpinBetweenRuns;
    for (int spins = 0; crew.generation.load(std::memory_order_acquire) == seen; ++spins) {
      if (spins % 64 != 63) {
        relax();
      } else if (std::chrono::steady_clock::now() > until) {
        std::unique_lock<std::mutex> lock(crew.mutex);
        ++crew.sleepers;
        crew.wake.wait(lock, [&] { return crew.generation.load() != seen; });
        --crew.sleepers;
      }
    }
    if (crew.stop.load()) return;
    crew.work(crew.context, thread);
    barrier();
  }
}

void ThreadPool::run_erased(Function work, void* context) {
  Crew& crew = *crew_;
  const std::lock_guard<std::mutex> turn(crew.turn);
  if (threads_ == 1) {
    work(context, 0);
    return barrier();
  }
  if (crew.workers.empty()) start();
  make_way();
  crew.work = work;
  crew.context = context;
  bool asleep;
  {
    const std::lock_guard<std::mutex> lock(crew.mutex);
    crew.generation.fetch_add(1, std::memory_order_acq_rel);
    asleep = crew.sleepers > 0;
  }
  if (asleep) crew.wake.notify_all();
  work(context, 0);
  barrier();
}

}  // namespace vp3d::cpu
