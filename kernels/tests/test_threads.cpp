// Many threads at once on one engine and on several, each getting what it would get alone. The
// build with ThreadSanitizer watches them.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "reference_network.hpp"
#include "thread_pool.hpp"
#include "vp3d/engine.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Engine;
using vp3d::EngineOptions;
using vp3d::ModelSpec;
using vp3d::Network;
using vp3d::Precision;
using vp3d::Stream;
using vp3d::cpu::ThreadPool;

constexpr std::uint32_t n_threads = 8;

const ModelSpec pose{{3, 3}, 24, 17, 2, 17, false};
const ModelSpec root{{3, 3}, 9, 17, 2, 1, false};
const std::vector<Network> networks{{"pose", pose}, {"trajectory", root}};

std::string path_of(Precision precision) {
  return "test_threads." + std::to_string(static_cast<int>(precision)) + ".safetensors";
}

Engine opened(Precision precision, int threads, bool pin = false) {
  EngineOptions options;
  options.threads = threads;
  options.pin_threads = pin;
  return Engine(path_of(precision), networks, precision, options);
}

Floats random_keypoints(std::int64_t frames, Random& random) {
  Floats keypoints(static_cast<std::size_t>(frames * pose.joints_in * pose.features));
  for (float& value : keypoints) value = static_cast<float>(random.uniform(-1, 1));
  return keypoints;
}

// Room for some answers of both networks.
struct Answers {
  Floats poses, roots;
  std::vector<float*> pointers;

  explicit Answers(std::int64_t count)
      : poses(static_cast<std::size_t>(count * pose.joints_out * 3)),
        roots(static_cast<std::size_t>(count * 3)),
        pointers{poses.data(), roots.data()} {}

  void append_to(Floats& all) const {
    all.insert(all.end(), poses.begin(), poses.end());
    all.insert(all.end(), roots.begin(), roots.end());
  }
};

// A stream whose people come and go, and between its frames windows and clips: what one thread
// does, which depends on `seed` alone.
Floats answers_of(Engine& engine, std::uint32_t seed) {
  Random random(seed);
  Stream stream = engine.open_stream(seed % 5);
  stream.add_rows(1 + seed % 3);
  Floats all;
  for (int frame = 0; frame < 16; ++frame) {
    if (frame == 5) stream.add_rows(2);
    if (frame == 9) stream.remove_rows({0});
    Answers live(stream.n_rows());
    stream.step(random_keypoints(stream.n_rows(), random).data(), live.pointers);
    live.append_to(all);
    if (frame % 3 != 0) stream.prepare();
    const std::int64_t windows = 1 + frame % 3;
    Answers some(windows);
    const Floats clip = random_keypoints(windows * pose.receptive_field(), random);
    if (frame % 4 == 3) engine.sequence(clip.data(), 1, pose.receptive_field(), some.pointers);
    else engine.window(clip.data(), windows, some.pointers);
    some.append_to(all);
  }
  return all;
}

void at_once(const std::function<void(std::uint32_t)>& work) {
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < n_threads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

// A thread that comes late finds that the others have done what was its own, each unit once; after a
// barrier there is the next work.
void check_units() {
  constexpr int threads = 3;
  constexpr std::int64_t units = 50;
  ThreadPool pool(threads, false);
  for (const int late : {0, 2}) {
    std::vector<std::vector<int>> done(threads, std::vector<int>(units)), again = done;
    std::atomic<std::int64_t> left{threads * units};
    const auto take = [&](int thread, std::vector<std::vector<int>>& by_owner) {
      for (int i = 0; i < threads; ++i) {
        const int owner = (thread + i) % threads;
        for (std::int64_t unit; (unit = pool.take_unit(owner, units)) >= 0; --left)
          ++by_owner[static_cast<std::size_t>(owner)][static_cast<std::size_t>(unit)];
      }
    };
    pool.run([&](int thread) {
      while (thread == late && left > 0) std::this_thread::yield();
      take(thread, done);
      pool.barrier();
      take(thread, again);
    });
    for (const auto* all : {&done, &again})
      for (const std::vector<int>& of_owner : *all)
        CHECK_EQUAL(std::count(of_owner.begin(), of_owner.end(), 1), units);
    CHECK_EQUAL(left.load(), -threads * units);
  }
  ThreadPool alone(1, false);
  for (int run = 0; run < 2; ++run)
    alone.run([&](int) {
      for (int step = 0; step < 2; ++step) {
        CHECK_EQUAL(alone.take_unit(0, 2), 0);
        CHECK_EQUAL(alone.take_unit(0, 2), 1);
        CHECK_EQUAL(alone.take_unit(0, 2), -1);
        CHECK_EQUAL(alone.take_unit(0, 2), -1);
        alone.barrier();
      }
      alone.take_unit(0, 2);
    });
}

// Engines that share a pool of threads, and one that has a pool of its own.
void check_engines(Precision precision) {
  std::vector<Engine> engines;
  engines.push_back(opened(precision, 2));
  engines.push_back(opened(precision, 2));
  engines.push_back(opened(precision, 3, true));
  std::vector<Floats> expected, found(n_threads);
  for (std::uint32_t i = 0; i < n_threads; ++i) expected.push_back(answers_of(engines[0], i));
  at_once([&](std::uint32_t i) { found[i] = answers_of(engines[0], i); });
  CHECK(found == expected);
  at_once([&](std::uint32_t i) { found[i] = answers_of(engines[i % engines.size()], i); });
  CHECK(found == expected);
}

// Pools begin and end while others begin, run and end.
void check_opening_and_closing(Precision precision) {
  Engine engine = opened(precision, 2);
  const Floats expected = answers_of(engine, 1);
  std::vector<int> same(n_threads, 0);
  at_once([&](std::uint32_t i) {
    for (int turn = 0; turn < 4; ++turn) {
      Engine own = opened(precision, 1 + static_cast<int>(i) % 3);
      same[i] += answers_of(own, 1) == expected ? 1 : 0;
    }
  });
  CHECK_EQUAL(std::count(same.begin(), same.end(), 4), n_threads);
}

}  // namespace

int main() {
  check_units();
  for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8}) {
    write_file(path_of(precision), file_of(random_tensors(networks, precision, 1)));
    check_engines(precision);
    check_opening_and_closing(precision);
    std::remove(path_of(precision).c_str());
  }
  return vp3d::test::result();
}
