// Quotas of control groups, read from directories that look like them.
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "check.hpp"
#include "cores.hpp"

namespace {

using vp3d::cpu::quota_cores;

std::string made(const std::string& directory) {
  mkdir(directory.c_str(), 0755);
  return directory;
}

void write(const std::string& file, const std::string& text) { std::ofstream(file) << text; }

}  // namespace

int main() {
  const std::string two = made("two");
  made(two + "/slice");
  made(two + "/slice/job");
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 0);  // nothing says anything
  write(two + "/slice/job/cpu.max", "max 100000\n");
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 0);
  write(two + "/slice/job/cpu.max", "250000 100000\n");
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 3);
  CHECK_EQUAL(quota_cores(two, "/slice"), 0);
  write(two + "/cpu.max", "200000 100000\n");  // a parent's is stricter
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 2);
  CHECK_EQUAL(quota_cores(two, "/"), 2);
  write(two + "/cpu.max", "what is this\n");
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 3);
  write(two + "/slice/job/cpu.max", "-5 0\n");
  CHECK_EQUAL(quota_cores(two, "/slice/job"), 0);

  const std::string one = made("one");
  made(one + "/cpu");
  write(one + "/cpu/cpu.cfs_quota_us", "-1\n");
  write(one + "/cpu/cpu.cfs_period_us", "100000\n");
  CHECK_EQUAL(quota_cores(one, "/"), 0);
  write(one + "/cpu/cpu.cfs_quota_us", "50000\n");
  CHECK_EQUAL(quota_cores(one, "/"), 1);

  CHECK(vp3d::cpu::cores_at_hand() >= 1);
  return vp3d::test::result();
}
