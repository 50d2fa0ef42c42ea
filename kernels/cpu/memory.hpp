// Memory for weights and columns: aligned, zeroed, and in huge pages where it is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace vp3d::cpu {

struct MemoryDeleter {
  std::size_t bytes = 0;  // of a mapping; 0 for memory of the heap
  void operator()(std::byte* data) const;
};

using Memory = std::unique_ptr<std::byte[], MemoryDeleter>;

// Zeroed, aligned to 64 bytes. Throws std::bad_alloc.
Memory allocate(std::int64_t bytes);
// The same, mapped in small pages: what is never written takes no memory.
Memory allocate_untouched(std::int64_t bytes);
// How often either was called in this process; for tests.
std::int64_t allocations_made();

}  // namespace vp3d::cpu
