// The reader of a bundle's manifest; vp3d_deploy/bundle.py is the one for Python.
#include "vp3d/bundle.hpp"

#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "json.hpp"
#include "mapped_file.hpp"

namespace vp3d {
namespace {

using cpu::MappedFile;
namespace json = cpu::json;

constexpr std::int64_t schema = 1;
constexpr std::size_t max_manifest_bytes = 16U << 20;

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::fp16: return "fp16";
    case Precision::int8: return "int8";
  }
  throw std::invalid_argument("not a precision");
}

std::string manifest_path(const std::string& bundle) { return bundle + "/manifest.json"; }

json::Value read_manifest(const std::string& bundle) {
  const std::string path = manifest_path(bundle);
  const MappedFile file(path);
  if (file.size() > max_manifest_bytes)
    throw WeightsError(path + " has " + std::to_string(file.size()) +
                       " bytes; a manifest is far smaller");
  json::Value root = json::parse({reinterpret_cast<const char*>(file.data()), file.size()});
  const json::Value* format = root.find("format");
  if (format == nullptr || format->string() != "vp3d-bundle")
    throw WeightsError(path + " is not a bundle's: its \"format\" is not \"vp3d-bundle\"");
  if (root.at("schema").integer() != schema)
    throw WeightsError(path + " has schema " + std::to_string(root.at("schema").integer()) +
                       ", and this version reads " + std::to_string(schema));
  return root;
}

// What `read` makes of the manifest; whatever is wrong with it is said with its path.
template <class Read>
auto with_manifest(const std::string& bundle, const Read& read) {
  try {
    return read(read_manifest(bundle));
  } catch (const json::Error& error) {
    throw WeightsError(manifest_path(bundle) + " is damaged: " + error.what());
  } catch (const std::invalid_argument& error) {
    throw WeightsError(manifest_path(bundle) + " is damaged: " + error.what());
  }
}

ModelSpec spec_from(const json::Value& values) {
  ModelSpec spec;
  for (const auto& [key, value] : values.object()) {
    if (key == "channels") spec.channels = value.integer();
    else if (key == "joints_in") spec.joints_in = value.integer();
    else if (key == "features") spec.features = value.integer();
    else if (key == "joints_out") spec.joints_out = value.integer();
    else if (key == "causal") spec.causal = value.boolean();
    else if (key == "filter_widths")
      for (const json::Value& width : value.array()) spec.filter_widths.push_back(width.integer());
    else throw json::Error("a network has the unknown field " + json::quoted(key));
  }
  spec.validate();
  return spec;
}

bool read_the_same_frames(const ModelSpec& a, const ModelSpec& b) {
  return a.filter_widths == b.filter_widths && a.causal == b.causal &&
         a.joints_in == b.joints_in && a.features == b.features;
}

std::vector<Network> networks_from(const json::Value& manifest) {
  const json::Value& values = manifest.at("networks");
  std::vector<Network> networks{{"pose", spec_from(values.at("pose"))}};
  if (const json::Value* trajectory = values.find("trajectory"))
    networks.push_back({"trajectory", spec_from(*trajectory)});
  if (values.object().size() != networks.size())
    throw json::Error("its networks are not \"pose\" and perhaps \"trajectory\"");
  if (!read_the_same_frames(networks.front().spec, networks.back().spec))
    throw json::Error("its two networks do not read the same frames");
  return networks;
}

}  // namespace

std::vector<Network> read_networks(const std::string& bundle) {
  return with_manifest(bundle, networks_from);
}

std::string weights_path(const std::string& bundle, Precision precision) {
  // As vp3d_export/weights.py names them. The name is never the manifest's, which could lead
  // anywhere.
  const std::string name = std::string("weights.") + name_of(precision) + ".safetensors";
  const std::string path = bundle + "/" + name;
  const std::int64_t bytes = with_manifest(bundle, [&](const json::Value& manifest) {
    const json::Value* entry = manifest.at("files").find(name);
    if (entry == nullptr)
      throw WeightsError(bundle + " holds no " + name + "; export it again with " +
                         (precision == Precision::fp32 ? "fp32"
                                                       : std::string("--") + name_of(precision)));
    return entry->at("bytes").integer();
  });
  const MappedFile file(path);
  if (bytes < 0 || file.size() != static_cast<std::uint64_t>(bytes))
    throw WeightsError(path + " is damaged: it has " + std::to_string(file.size()) +
                       " bytes, not " + std::to_string(bytes));
  return path;
}

Engine open_bundle(const std::string& bundle, Precision precision, EngineOptions options) {
  const std::string weights = weights_path(bundle, precision);
  return Engine(weights, read_networks(bundle), precision, std::move(options));
}

}  // namespace vp3d
