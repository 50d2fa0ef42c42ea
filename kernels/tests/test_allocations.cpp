// After its first frame a live stream allocates nothing: whatever the lag, the precision, the number
// of people and of threads, prepared for its frames or not.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "check.hpp"
#include "memory.hpp"
#include "reference_network.hpp"
#include "vp3d/engine.hpp"

namespace {
std::atomic<long> allocations{0};

// Not inlined, or gcc takes them to be mixed with the standard library's.
[[gnu::noinline]] void* allocate(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

[[gnu::noinline]] void release(void* memory) { std::free(memory); }
}  // namespace

// What everything in this process allocates with.
void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }

namespace {

using namespace vp3d::test;
using vp3d::Network;
using vp3d::Precision;

const std::vector<Network> networks{{"pose", {{3, 3, 3}, 24, 17, 2, 17, false}},
                                    {"trajectory", {{3, 3, 3}, 9, 17, 2, 1, false}}};

void check_stream(Precision precision, std::int64_t lag, std::int64_t rows, int threads,
                  bool prepared) {
  const std::string path = "test_allocations.safetensors";
  write_file(path, file_of(random_tensors(networks, precision, 1)));
  vp3d::EngineOptions options;
  options.threads = threads;
  vp3d::Engine engine(path, networks, precision, options);
  std::remove(path.c_str());
  vp3d::Stream stream = engine.open_stream(lag);
  stream.add_rows(rows);
  const std::vector<float> frame(static_cast<std::size_t>(rows * 34), 0.25F);
  std::vector<float> poses(static_cast<std::size_t>(rows * 51));
  std::vector<float> roots(static_cast<std::size_t>(rows * 3));
  const std::vector<float*> answers{poses.data(), roots.data()};
  const auto take = [&] {
    stream.step(frame.data(), answers);
    if (prepared) stream.prepare();
  };
  const std::int64_t at_first = vp3d::cpu::allocations_made();
  take();
  // For the sums of two levels' convolutions in two networks, of as few columns as are read where
  // they lie: what they would be good for is shown by nothing else here.
  const std::int64_t columns = rows * (lag == 13 ? 1 : 3);
  if (columns <= 3) CHECK_EQUAL(vp3d::cpu::allocations_made() - at_first, prepared ? 4 : 0);
  const std::int64_t before = allocations + vp3d::cpu::allocations_made();
  for (int i = 0; i < 40; ++i) take();
  const std::int64_t made = allocations + vp3d::cpu::allocations_made() - before;
  CHECK_EQUAL(made, 0);
}

}  // namespace

int main() {
  for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8})
    for (const std::int64_t lag : {0, 5, 13})
      for (const std::int64_t rows : {1, 3, 70})
        for (const int threads : {1, 2})
          for (const bool prepared : {false, true})
            check_stream(precision, lag, rows, threads, prepared);
  CHECK(allocations > 0);
  CHECK(vp3d::cpu::allocations_made() > 0);
  return vp3d::test::result();
}
