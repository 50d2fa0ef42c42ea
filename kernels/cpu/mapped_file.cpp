#include "mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "vp3d/engine.hpp"

namespace vp3d::cpu {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw WeightsError(path + " cannot be read: " + std::generic_category().message(error));
}

// Closes what it holds.
struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for someone to write to it.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) fail(path, errno);
  if (!S_ISREG(status.st_mode)) throw WeightsError(path + " is not a plain file");
  if (status.st_size == 0) throw WeightsError(path + " is empty");
  if (static_cast<std::uintmax_t>(status.st_size) > SIZE_MAX) fail(path, EFBIG);
  size_ = static_cast<std::size_t>(status.st_size);
  void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (mapping == MAP_FAILED) fail(path, errno);
  mapping_ = mapping;
}

MappedFile::~MappedFile() { ::munmap(mapping_, size_); }

}  // namespace vp3d::cpu
