// Which cores this process may use, and how many of them at a time.
#pragma once

#include <string>
#include <vector>

namespace vp3d::cpu {

// By their numbers; empty where the system does not say.
std::vector<int> allowed_cores();

// How many threads are worth having: one for each core that is allowed, but no more than a control
// group's quota of processor time keeps busy (a container's --cpus). At least 1.
int cores_at_hand();

// The quota of the calling process in cores, rounded up; 0 where there is none. Of version 2 groups
// every group from its own to the root counts, of version 1 the one that is mounted.
// group: this process's, as in /proc/self/cgroup; root: where groups are mounted.
int quota_cores(const std::string& root, const std::string& group);

}  // namespace vp3d::cpu
