// Threads that run one piece of work together and meet at barriers inside it.
//
// A frame is ten short products that depend on each other, so what counts is the price of meeting:
// threads spin while work is under way, which costs 0.1 to 0.4 microseconds where an operating
// system's barrier costs several, and between two pieces of work spin only briefly before they
// sleep, so that a camera's idle time stays idle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace vp3d::cpu {

class ThreadPool {
 public:
  // The process's pool of this kind: engines share it, so that they take turns rather than fight
  // over the cores. It ends with its last user.
  static std::shared_ptr<ThreadPool> shared(int threads, bool pin);

  // threads: including the one that calls `run`; at least 1.
  ThreadPool(int threads, bool pin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls work(thread) for thread = 0 .. threads-1 at the same time, 0 being the caller, and
  // returns when all are done. Calls from several threads take turns. `work` must not throw.
  template <class Work>
  void run(Work&& work) {
    run_erased([](void* context, int thread) { (*static_cast<Work*>(context))(thread); }, &work);
  }

  // Within `run`, called by all of its threads: none goes on before all have come.
  void barrier();

  // Within `run`: the number of a unit of thread `owner`'s work that nobody has taken since the
  // last barrier, in ascending order, or -1 when all `units` are taken. A thread that is done with
  // its own takes others': of two cores, one is often slower, because it is a smaller one or has a
  // neighbour.
  std::int64_t take_unit(int owner, std::int64_t units);

  // Threads in a child process after fork(): those of the parent are not there.
  void restart_after_fork();

 private:
  using Function = void (*)(void* context, int thread);
  struct Crew;

  void run_erased(Function work, void* context);
  // Starts the workers. Throws std::system_error, with none left, where the system has no more.
  void start();
  // Linux likes to wake a thread on the core of whoever wakes it, who here works on: the two would
  // take turns on it. So workers are kept off the core that the caller is on.
  void make_way();
  void dismiss();
  // What a worker does until it is dismissed.
  void serve(int thread);

  const int threads_;
  const bool pin_;
  std::unique_ptr<Crew> crew_;
};

}  // namespace vp3d::cpu
