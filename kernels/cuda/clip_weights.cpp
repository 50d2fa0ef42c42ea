// The image of packed weights that the plans of windows and sequences refer to.
#include <algorithm>
#include <stdexcept>

#include "clip_plan.hpp"
#include "processing_tables.hpp"
#include "read_layers.hpp"

namespace vp3d::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;

class Packer {
 public:
  explicit Packer(std::vector<std::byte>& image) : image_(image) {}

  ClipLayer pack(const Layer& layer) {
    ClipLayer packed{layer.type, layer.rows, layer.taps, layer.inputs, 0, 0, -1, layer.input_scale};
    const std::int64_t tiles = clip_padded(layer.rows) / kTileRows;
    const std::int64_t tile_bytes =
        layer.taps * steps_of(layer.inputs, layer.type) * kFragmentBytes;
    packed.weights = room(tiles * tile_bytes);
    for (std::int64_t tile = 0; tile < tiles; ++tile)
      pack_tile(layer.weights, layer.rows, layer.taps, layer.inputs, layer.type, tile * kTileRows,
                image_.data() + packed.weights + tile * tile_bytes);
    packed.bias = add(layer.bias, clip_padded(layer.rows));
    if (layer.type == Number::i8) packed.scale = add(layer.scale, clip_padded(layer.rows));
    return packed;
  }

  template <class T>
  std::int64_t add(const std::vector<T>& values, std::int64_t padded) {
    const std::int64_t at = room(padded * static_cast<std::int64_t>(sizeof(T)));
    if (!values.empty()) std::memcpy(image_.data() + at, values.data(), values.size() * sizeof(T));
    return at;
  }

 private:
  // Room at the end of the image; zeros.
  std::int64_t room(std::int64_t bytes) {
    const std::int64_t at =
        ceil_div(static_cast<std::int64_t>(image_.size()), kAlignment) * kAlignment;
    image_.resize(static_cast<std::size_t>(at + bytes));
    return at;
  }

  std::vector<std::byte>& image_;
};

// The frames of a column of level 0 lie one behind the other: one tap.
Layer with_one_tap(Layer layer) {
  layer.inputs *= layer.taps;
  layer.taps = 1;
  return layer;
}

void check_networks(const std::vector<Network>& networks) {
  if (networks.empty() || networks.size() > kMostNetworks)
    throw std::invalid_argument("windows and sequences run 1 to " + std::to_string(kMostNetworks) +
                                " networks, not " + std::to_string(networks.size()));
  for (const Network& network : networks) {
    network.spec.validate();
    const ModelSpec &one = networks[0].spec, &other = network.spec;
    if (one.filter_widths != other.filter_widths || one.causal != other.causal ||
        one.joints_in != other.joints_in || one.features != other.features)
      throw std::invalid_argument("the networks of a clip must read the same frames; \"" +
                                  network.name + "\" differs from \"" + networks[0].name + '"');
  }
}

}  // namespace

ClipWeights::ClipWeights(const cpu::SafetensorsFile& file, const std::vector<Network>& networks,
                         Precision precision, const Processing& processing)
    : networks_(networks), processing_(processing) {
  check_networks(networks);
  check_processing(processing, networks);
  Packer packer(image_);
  for (const Network& network : networks) {
    auto& layers = layers_.emplace_back();
    for (const Layer& layer : read_layers(file, network, precision))
      layers.push_back(packer.pack(layers.empty() ? with_one_tap(layer) : layer));
  }
  tables_ = processing_tables(processing, networks);
  const auto count = static_cast<std::int64_t>(processing.joints.size());
  tables_.joints = packer.add(processing.joints, count);
  tables_.shares = packer.add(processing.shares, count);
}

}  // namespace vp3d::cuda
