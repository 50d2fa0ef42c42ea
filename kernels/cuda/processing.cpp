#include <stdexcept>
#include <string>

#include "processing_tables.hpp"

namespace vp3d::cuda {
namespace {

void check_parts(const Processing& processing, const ModelSpec& spec) {
  const auto count = static_cast<std::size_t>(spec.joints_in) *
                     static_cast<std::size_t>(processing.parts < 0 ? 0 : processing.parts);
  if (processing.parts < 1 || processing.joints.size() != count ||
      processing.shares.size() != count)
    throw std::invalid_argument(
        "each of " + std::to_string(spec.joints_in) + " joints is made of " +
        std::to_string(processing.parts) + " parts; there are " +
        std::to_string(processing.joints.size()) + " indices and " +
        std::to_string(processing.shares.size()) + " shares");
  for (const std::int32_t joint : processing.joints)
    if (joint < 0 || joint >= processing.joints_seen)
      throw std::invalid_argument("a joint is made of joint " + std::to_string(joint) + " of " +
                                  std::to_string(processing.joints_seen));
  if (spec.features != 2 && spec.features != 3)
    throw std::invalid_argument("pixels become 2 or 3 values per joint, not " +
                                std::to_string(spec.features));
}

}  // namespace

void check_processing(const Processing& processing, const std::vector<Network>& networks) {
  if (processing.joints_seen < 0 || processing.joints_seen > 1024)
    throw std::invalid_argument("a skeleton has 1 to 1024 joints, not " +
                                std::to_string(processing.joints_seen));
  if (processing.joints_seen > 0) check_parts(processing, networks[0].spec);
  if (processing.to_world && !processing.add_trajectory)
    throw std::invalid_argument(
        "where joints are in the world follows from the trajectory; add it too");
  if (processing.add_trajectory &&
      (networks.size() < 2 || networks.back().spec.joints_out != 1))
    throw std::invalid_argument(
        "a trajectory of one joint must be the last of at least two networks to be added");
}

ProcessingTables processing_tables(const Processing& processing,
                                   const std::vector<Network>& networks) {
  ProcessingTables tables{};
  tables.joints_seen = processing.joints_seen;
  tables.parts = processing.parts;
  tables.joints_in = static_cast<std::int32_t>(networks[0].spec.joints_in);
  tables.features = static_cast<std::int32_t>(networks[0].spec.features);
  tables.add_trajectory = processing.add_trajectory ? 1 : 0;
  tables.to_world = processing.to_world ? 1 : 0;
  for (const Network& network : networks) {
    tables.trajectory = tables.answer_floats;
    tables.answer_floats += static_cast<std::int32_t>(network.spec.joints_out * 3);
  }
  return tables;
}

}  // namespace vp3d::cuda
