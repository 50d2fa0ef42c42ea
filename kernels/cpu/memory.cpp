#include "memory.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "layer.hpp"

namespace vp3d::cpu {
namespace {

// From here on memory is mapped, in pages of 2 MB where the system has them: weights that are read
// end to end each frame come 5 to 15 % faster.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::atomic<std::int64_t> made{0};

}  // namespace

std::int64_t allocations_made() { return made; }

void MemoryDeleter::operator()(std::byte* data) const {
  if (bytes != 0) munmap(data, bytes);
  else std::free(data);
}

Memory allocate_untouched(std::int64_t bytes) {
  ++made;
  const auto wanted = static_cast<std::size_t>(bytes > 0 ? bytes : 1);
  void* mapped =
      mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  return Memory(static_cast<std::byte*>(mapped), MemoryDeleter{wanted});
}

Memory allocate(std::int64_t bytes) {
  ++made;
  const auto wanted = static_cast<std::size_t>(bytes > 0 ? bytes : 1);
  if (wanted < kHugePage) {
    const std::size_t rounded = (wanted + kAlignment - 1) / kAlignment * kAlignment;
    void* data = std::aligned_alloc(kAlignment, rounded);
    if (data == nullptr) throw std::bad_alloc();
    std::memset(data, 0, rounded);
    return Memory(static_cast<std::byte*>(data), MemoryDeleter{0});
  }
  // A mapping begins anywhere: one huge page more leaves room for an aligned beginning.
  const std::size_t rounded = (wanted + kHugePage - 1) / kHugePage * kHugePage;
  void* mapped = mmap(nullptr, rounded + kHugePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  const auto start = reinterpret_cast<std::uintptr_t>(mapped);
  const std::size_t before = (kHugePage - start % kHugePage) % kHugePage;
  if (before > 0) munmap(mapped, before);
  auto* data = static_cast<std::byte*>(mapped) + before;
  if (kHugePage > before) munmap(data + rounded, kHugePage - before);
#ifdef MADV_HUGEPAGE
  madvise(data, rounded, MADV_HUGEPAGE);  // a wish: without it pages are small
#endif
  return Memory(data, MemoryDeleter{rounded});
}

}  // namespace vp3d::cpu
