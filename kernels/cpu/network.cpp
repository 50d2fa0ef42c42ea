#include "network.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "half.hpp"

namespace vp3d::cpu {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::int64_t bytes_of(WeightType type) {
  return type == WeightType::f32 ? 4 : type == WeightType::f16 ? 2 : 1;
}

// A product that is to be packed, and where its tensors are.
struct Plan {
  std::string name;  // of its tensors, without ".weight"
  Product* product;
  const std::byte* source;  // (rows, taps * inputs)
  std::vector<float> bias;
  std::vector<float> scale;  // or none
  std::int64_t rows;         // as stored
  std::int64_t inputs;       // of each tap, as stored
};

std::vector<float> floats(const SafetensorsFile& file, const std::string& name,
                          const std::vector<std::int64_t>& shape) {
  const TensorView& view = file.tensor(name, shape);
  std::vector<float> values(static_cast<std::size_t>(view.size()));
  if (view.dtype == DType::f32) {
    std::memcpy(values.data(), view.data, values.size() * sizeof(float));
  } else if (view.dtype == DType::f16) {  // biases of half-precision layers
    const auto* halves = reinterpret_cast<const Half*>(view.data);
    // Not `widen` itself: what is always inlined cannot be pointed to.
    std::transform(halves, halves + values.size(), values.begin(),
                   [](Half half) { return widen(half); });
  } else {
    throw WeightsError(file.path() + ": tensor \"" + name + "\" must be F32 or F16");
  }
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    throw WeightsError(file.path() + ": tensor \"" + name +
                       "\" has a value that is not a finite number");
  return values;
}

WeightType weight_type(DType type) {
  return type == DType::f32 ? WeightType::f32
                            : type == DType::f16 ? WeightType::f16 : WeightType::i8;
}

class Planner {
 public:
  Planner(const SafetensorsFile& file, Precision precision, const KernelSet& kernels)
      : file_(file), precision_(precision), panel_(kernels.panel_rows) {}

  PackedNetwork network(const Network& network) {
    const ModelSpec& spec = network.spec;
    PackedNetwork packed;
    packed.spec = spec;
    packed.channels = round_up(spec.channels, panel_);
    packed.levels.resize(spec.filter_widths.size());
    return packed;
  }

  // Products in the order in which a frame uses them; `packed` must stay where it is.
  std::vector<Plan> products(const Network& network, PackedNetwork& packed) {
    const ModelSpec& spec = network.spec;
    std::vector<Plan> plans;
    for (std::size_t level = 0; level < packed.levels.size(); ++level) {
      const std::string name = network.name + ".level" + std::to_string(level);
      const std::int64_t width = spec.filter_widths[level];
      const std::int64_t inputs = level ? spec.channels : spec.joints_in * spec.features;
      plans.push_back(
          plan(name + ".conv", packed.levels[level].conv, spec.channels, width, inputs, level > 0));
      if (level > 0)
        plans.push_back(
            plan(name + ".mix", packed.levels[level].mix, spec.channels, 1, spec.channels, true));
    }
    plans.push_back(plan(network.name + ".shrink", packed.shrink, spec.joints_out * 3, 1,
                         spec.channels, false));
    packed.shrink.layer.relu = false;
    return plans;
  }

 private:
  Plan plan(const std::string& name, Product& product, std::int64_t rows, std::int64_t taps,
            std::int64_t inputs, bool inner) {
    const TensorView& weight = file_.tensor(name + ".weight", {rows, taps * inputs});
    check_type(name, weight.dtype, inner);
    PackedLayer& layer = product.layer;
    layer.type = weight_type(weight.dtype);
    layer.taps = taps;
    layer.tap_inputs = layer.type == WeightType::i8 ? round_up(inputs, 4) : inputs;
    // Sums of 8-bit products have 32 bits.
    constexpr std::int64_t kMostInputs = (std::int64_t{1} << 31) / (127 * 128) - 1;
    if (layer.type == WeightType::i8 && taps * layer.tap_inputs > kMostInputs)
      throw WeightsError(file_.path() + ": tensor \"" + name + ".weight\" has " +
                         std::to_string(taps * inputs) + " inputs; in 8 bits a sum of more than " +
                         std::to_string(kMostInputs) + " may overflow");
    layer.rows = round_up(rows, panel_);
    product.panel_bytes = panel_ * taps * layer.tap_inputs * bytes_of(layer.type);
    product.answers = rows;
    Plan result{name, &product, weight.data, floats(file_, name + ".bias", {rows}), {}, rows, inputs};
    if (layer.type == WeightType::i8) {
      result.scale = floats(file_, name + ".scale", {rows});
      layer.input_scale = floats(file_, name + ".input_scale", {})[0];
      if (!(layer.input_scale > 0.0F))
        throw WeightsError(file_.path() + ": tensor \"" + name + ".input_scale\" must be positive");
    }
    return result;
  }

  void check_type(const std::string& name, DType type, bool inner) const {
    const DType wanted = !inner || precision_ == Precision::fp32 ? DType::f32
                         : precision_ == Precision::fp16         ? DType::f16
                                                                 : DType::i8;
    // Single layers may be kept in a finer type than the others.
    if (type != wanted && (type != DType::f32 || !inner))
      throw WeightsError(file_.path() + ": tensor \"" + name +
                         ".weight\" is of another type than weights of this precision");
  }

  const SafetensorsFile& file_;
  const Precision precision_;
  const std::int64_t panel_;
};

// The bits of an exponent that only infinities and NaNs have; whole numbers have neither.
constexpr std::uint32_t exponent_bits(std::uint32_t) { return 0x7f800000U; }
constexpr std::uint16_t exponent_bits(std::uint16_t) { return 0x7c00U; }
constexpr bool is_finite(std::int8_t) { return true; }
template <class W>
constexpr bool is_finite(W bits) {
  return (bits & exponent_bits(bits)) != exponent_bits(bits);
}

// Rows [first, first + panel) of a matrix, inputs slowest; what lies outside the matrix is zero.
// Returns whether all of them are finite.
template <class W>
bool pack_panel(const Plan& plan, std::int64_t first, std::int64_t panel, W* out) {
  const auto* source = reinterpret_cast<const W*>(plan.source);
  const PackedLayer& layer = plan.product->layer;
  const std::int64_t unit = layer.type == WeightType::i8 ? 4 : 1;  // inputs of a row kept together
  const std::int64_t rows = std::min(panel, plan.rows - first);
  const std::int64_t stride = layer.taps * plan.inputs;
  bool finite = true;
  for (std::int64_t tap = 0; tap < layer.taps; ++tap) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const W* from = source + (first + row) * stride + tap * plan.inputs;
      W* to = out + row * unit;
      for (std::int64_t k = 0; k < plan.inputs; ++k) {
        to[k / unit * unit * panel + k % unit] = from[k];
        finite &= is_finite(from[k]);
      }
    }
    out += layer.tap_inputs * panel;
  }
  return finite;
}

// Returns whether all weights of the share are finite.
bool pack_share(const Plan& plan, const Share& share, std::int64_t panel, std::byte* out) {
  const PackedLayer& layer = plan.product->layer;
  bool finite = true;
  for (std::int64_t i = 0; i < share.n_panels; ++i, out += plan.product->panel_bytes) {
    const std::int64_t first = (share.first_panel + i) * panel;
    if (layer.type == WeightType::f32)
      finite &= pack_panel(plan, first, panel, reinterpret_cast<std::uint32_t*>(out));
    else if (layer.type == WeightType::f16)
      finite &= pack_panel(plan, first, panel, reinterpret_cast<std::uint16_t*>(out));
    else
      finite &= pack_panel(plan, first, panel, reinterpret_cast<std::int8_t*>(out));
  }
  return finite;
}

}  // namespace

PackedWeights::PackedWeights(const SafetensorsFile& file, const std::vector<Network>& networks,
                             Precision precision, const KernelSet& kernels, ThreadPool& pool) {
  Planner planner(file, precision, kernels);
  for (const Network& network : networks) networks_.push_back(planner.network(network));
  std::vector<std::vector<Plan>> by_network;
  for (std::size_t i = 0; i < networks.size(); ++i)
    by_network.push_back(planner.products(networks[i], networks_[i]));
  std::vector<Plan*> order;  // all networks' first products, all second ones, ..
  for (std::size_t step = 0; step < by_network[0].size(); ++step)
    for (std::vector<Plan>& plans : by_network) order.push_back(&plans[step]);

  std::int64_t vector_floats = 0;
  for (const Plan* plan : order) {
    const PackedLayer& layer = plan->product->layer;
    weight_bytes_ += layer.rows / kernels.panel_rows * plan->product->panel_bytes;
    vector_floats += layer.rows * (plan->scale.empty() ? 1 : 2);
  }
  weights_ = allocate(weight_bytes_);
  vectors_ = allocate(vector_floats * 4);

  const std::int64_t panel = kernels.panel_rows;
  std::int64_t at = 0;
  for (int thread = 0; thread < pool.threads(); ++thread) {
    for (const Plan* plan : order) {
      const std::int64_t panels = plan->product->layer.rows / panel;
      const std::int64_t begin = panels * thread / pool.threads();
      const std::int64_t end = panels * (thread + 1) / pool.threads();
      plan->product->shares.push_back({weights_.get() + at, begin, end - begin});
      at += (end - begin) * plan->product->panel_bytes;
    }
  }
  auto* vector = reinterpret_cast<float*>(vectors_.get());
  for (const Plan* plan : order) {
    PackedLayer& layer = plan->product->layer;
    layer.bias = vector;
    std::copy(plan->bias.begin(), plan->bias.end(), vector);
    vector += layer.rows;
    if (!plan->scale.empty()) {
      layer.scale = vector;
      for (std::int64_t row = 0; row < plan->rows; ++row)
        vector[row] = plan->scale[static_cast<std::size_t>(row)] * layer.input_scale;
      vector += layer.rows;
    }
  }
  // Each thread writes first what it will read: the memory is then its own processor's.
  std::vector<std::atomic<bool>> damaged(order.size());
  pool.run([&](int thread) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const Share& share = order[i]->product->shares[static_cast<std::size_t>(thread)];
      std::byte* to = weights_.get() + (share.weights - weights_.get());
      if (!pack_share(*order[i], share, panel, to)) damaged[i] = true;
    }
  });
  for (std::size_t i = 0; i < order.size(); ++i)
    if (damaged[i])
      throw WeightsError(file.path() + ": tensor \"" + order[i]->name +
                         ".weight\" holds numbers that are not finite; the file is damaged");
}

}  // namespace vp3d::cpu
