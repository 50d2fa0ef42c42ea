#include "cores.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

namespace vp3d::cpu {
namespace {

// Whole cores of `quota` microseconds of processor time in every `period`; 0 for no limit.
int cores_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  return static_cast<int>(std::min(std::ceil(quota / period), 65536.0));
}

// A line such as "max 100000" or "150000 100000".
int limit_of_v2(const std::string& file) {
  std::ifstream stream(file);
  double quota = 0, period = 0;
  return stream >> quota >> period ? cores_of(quota, period) : 0;
}

int limit_of_v1(const std::string& directory) {
  std::ifstream quotas(directory + "/cpu.cfs_quota_us"), periods(directory + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quotas >> quota && periods >> period ? cores_of(quota, period) : 0;
}

int stricter(int a, int b) { return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b); }

// This process's version 2 group: the line "0::/path".
std::string own_group() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.rfind("0::", 0) == 0) return line.substr(3);
  return "/";
}

}  // namespace

int quota_cores(const std::string& root, const std::string& group) {
  int limit = limit_of_v1(root + "/cpu");
  for (std::string path = group;; path.erase(path.rfind('/'))) {
    limit = stricter(limit, limit_of_v2(root + path + "/cpu.max"));
    if (path.rfind('/') == std::string::npos) return limit;
  }
}

std::vector<int> allowed_cores() {
  std::vector<int> cores;
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
#endif
  return cores;
}

int cores_at_hand() {
  const auto allowed = static_cast<int>(allowed_cores().size());
  const int present = allowed > 0 ? allowed : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, stricter(present, quota_cores("/sys/fs/cgroup", own_group())));
}

}  // namespace vp3d::cpu
