// A bundle's manifest is read as vp3d_export writes it, and damaged ones are refused.
#include "vp3d/bundle.hpp"

#include <sys/stat.h>

#include <string>

#include "check.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Precision;
using vp3d::WeightsError;

const std::string bundle = "net.vp3d";

const std::string pose = R"({"filter_widths":[3,5],"channels":8,"joints_in":16,"causal":true})";
const std::string trajectory =
    R"({"filter_widths":[3,5],"channels":4,"joints_in":16,"causal":true,"joints_out":1})";

void write_manifest(const std::string& networks, const std::string& schema = "1") {
  write_file(bundle + "/manifest.json",
             R"({"format":"vp3d-bundle","schema":)" + schema + R"(,"networks":)" + networks +
                 R"(,"files":{"weights.fp32.safetensors":{"bytes":5,"sha256":"x"}}})");
}

void refuses(const std::string& networks, const std::string& why) {
  write_manifest(networks);
  CHECK_THROWS(WeightsError, vp3d::read_networks(bundle), why);
  CHECK_THROWS(WeightsError, vp3d::read_networks(bundle), "net.vp3d/manifest.json is damaged");
}

void reads_networks() {
  write_manifest("{\"trajectory\":" + trajectory + ",\"pose\":" + pose + "}");
  const auto networks = vp3d::read_networks(bundle);
  CHECK_EQUAL(networks.size(), 2U);
  CHECK(networks[0].name == "pose" && networks[1].name == "trajectory");
  const vp3d::ModelSpec& spec = networks[0].spec;
  CHECK(spec.filter_widths == (std::vector<std::int64_t>{3, 5}) && spec.channels == 8);
  CHECK(spec.joints_in == 16 && spec.features == 2 && spec.joints_out == 17 && spec.causal);
  CHECK(networks[1].spec.channels == 4 && networks[1].spec.joints_out == 1);
}

void finds_weights() {
  write_manifest("{\"pose\":" + pose + "}");
  write_file(bundle + "/weights.fp32.safetensors", "12345");
  CHECK_EQUAL(vp3d::weights_path(bundle, Precision::fp32), bundle + "/weights.fp32.safetensors");
  CHECK_THROWS(WeightsError, vp3d::weights_path(bundle, Precision::int8),
               "holds no weights.int8.safetensors; export it again with --int8");
  write_file(bundle + "/weights.fp32.safetensors", "123");
  CHECK_THROWS(WeightsError, vp3d::weights_path(bundle, Precision::fp32), "has 3 bytes, not 5");
}

void refuses_damaged_manifests() {
  CHECK_THROWS(WeightsError, vp3d::read_networks("absent.vp3d"), "cannot be read: No such file");
  write_manifest("{}", "2");
  CHECK_THROWS(WeightsError, vp3d::read_networks(bundle), "has schema 2, and this version reads 1");
  write_file(bundle + "/manifest.json", "{}");
  CHECK_THROWS(WeightsError, vp3d::read_networks(bundle), "is not a bundle's");
  refuses("{", "expected");
  refuses("{}", "it lacks \"pose\"");
  refuses("[]", "expected an object");
  refuses("{\"pose\":" + pose + ",\"root\":" + pose + "}", "its networks are not");
  refuses(R"({"pose":{"filter_widths":[3]}})", "channels must be 1 to 65536, not 0");
  refuses(R"({"pose":{"filter_widths":[2],"channels":8}})", "odd and positive, not 2");
  refuses(R"({"pose":{"filter_widths":[3],"channels":4611686018427387904}})", "channels must be");
  refuses(R"({"pose":{"filter_widths":[3],"channels":8,"depth":1}})", "unknown field \"depth\"");
  refuses("{\"pose\":" + pose + R"(,"trajectory":{"filter_widths":[3],"channels":8}})",
          "do not read the same frames");
}

}  // namespace

int main() {
  ::mkdir(bundle.c_str(), 0700);
  reads_networks();
  finds_weights();
  refuses_damaged_manifests();
  return vp3d::test::result();
}
