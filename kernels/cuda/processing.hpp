// What may surround the network on the device, so that one copy goes in and one comes out: pixels
// become what the network reads, and answers become positions in the world. The definitions are
// vp3d_deploy/camera.py, network_input.py and poses.py.
#pragma once

#include <vector>

#include "numbers.hpp"

namespace vp3d::cuda {

// Of a block of the kernels that do nothing else.
constexpr int kFrameThreads = 256;

// Of one live stream, or one item of a batch: its image, and where its camera is.
//   normalised = (pixel - centre) / half, with centre = (width / 2, height / 2), half = width / 2;
//   world = position + camera @ rotation, with rotation (3, 3) world -> camera.
struct alignas(16) View {
  float centre[2], half, unused;
  float rotation[9];
  float position[3];
};

// Chosen when an image is built; the host's side.
struct Processing {
  // The incoming skeleton; 0: the input is what the network reads, and there are no Views for it.
  std::int32_t joints_seen = 0;
  // Each joint that the network reads is made of so many of those seen: their indices and shares,
  // (J_in, parts). Where a joint is made of fewer, the rest have a share of 0. A third feature is
  // the smallest of the parts' scores.
  std::int32_t parts = 1;
  std::vector<std::int32_t> joints;
  std::vector<float> shares;
  // The last network is the trajectory (one joint): it is added to the joints of the others.
  bool add_trajectory = false;
  // Answers, with add_trajectory alone, are positions in the world.
  bool to_world = false;

  bool needs_views() const { return joints_seen > 0 || to_world; }
};

// The same as kernels see it: offsets in bytes from the image's start.
struct ProcessingTables {
  std::int64_t joints, shares;  // int32 and float (joints_in, parts)
  std::int32_t joints_seen, parts, joints_in, features;
  std::int32_t add_trajectory, to_world;
  std::int32_t answer_floats, trajectory;  // of one answer; where the trajectory is in it
};

// One value of what the network reads. seen: (joints_seen, features) pixels, and scores.
VP3D_HD float prepared_value(const ProcessingTables& tables, const std::int32_t* joints,
                             const float* shares, const View& view, const float* seen,
                             int joint, int feature) {
  const std::int32_t* parts = joints + joint * tables.parts;
  const float* part_shares = shares + joint * tables.parts;
  float value = 0;
  for (int part = 0; part < tables.parts; ++part) {
    if (part > 0 && part_shares[part] == 0.0F) continue;  // a filler, which may be NaN
    const float own = seen[parts[part] * tables.features + feature];
    if (feature == 2) {
      value = part == 0 || own < value || own != own ? own : value;
    } else {
      // As numpy computes it in float32, division included.
      const float centred = own - view.centre[feature];
      value = fmaf(part_shares[part], centred / view.half, value);
    }
  }
  return value;
}

// A point, and where the root is, in the camera's frame -> a coordinate of their sum.
VP3D_HD float finished_value(const ProcessingTables& tables, const View* view, const float* point,
                             const float* root, int axis) {
  if (tables.to_world == 0) return root == nullptr ? point[axis] : point[axis] + root[axis];
  float value = view->position[axis];
  for (int i = 0; i < 3; ++i)
    value = fmaf(root == nullptr ? point[i] : point[i] + root[i], view->rotation[3 * i + axis],
                 value);
  return value;
}

}  // namespace vp3d::cuda
