#include "forms.hpp"

#include "cores.hpp"

namespace vp3d::cpu {

void ColumnTable::resize(std::int64_t capacity, std::int64_t taps) {
  const auto n = static_cast<std::size_t>(capacity);
  inputs.resize(n * static_cast<std::size_t>(taps));
  residuals.resize(n);
  outputs.resize(n);
  quantised.resize(n);
}

bool output_is_quantised(const PackedNetwork& network, std::size_t level) {
  return level + 1 < network.levels.size() &&
         network.levels[level + 1].conv.layer.type == WeightType::i8;
}

bool middle_is_quantised(const PackedNetwork& network, std::size_t level) {
  return network.levels[level].mix.layer.type == WeightType::i8;
}

Passes::Passes(const std::vector<PackedNetwork>& networks) : networks_(networks) {
  const std::size_t levels = networks[0].levels.size();
  phases_.resize(2 * levels);
  tables_.resize(2 * levels);
  for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
    for (const PackedNetwork& network : networks) {
      const std::size_t level = (phase + 1) / 2;
      const Product& product = phase + 1 == phases_.size() ? network.shrink
                               : phase == 0 || phase % 2 == 1 ? network.levels[level].conv
                                                              : network.levels[level].mix;
      phases_[phase].products.push_back(&product);
    }
    phases_[phase].calls.resize(networks.size());
    tables_[phase].resize(networks.size());
  }
}

void Passes::resize(std::size_t phase, std::int64_t capacity) {
  const std::size_t last = phases_.size() - 1;
  const std::size_t level = phase == last ? networks_[0].levels.size() - 1 : (phase + 1) / 2;
  const bool middle = phase != last && phase % 2 == 1;  // a convolution that a mix follows
  const bool mixed = phase != last && phase > 0 && phase % 2 == 0;
  for (std::size_t i = 0; i < networks_.size(); ++i) {
    const PackedNetwork& network = networks_[i];
    const PackedLayer& layer = phases_[phase].products[i]->layer;
    ColumnTable& table = tables_[phase][i];
    table.resize(capacity, layer.taps);
    LayerCall& call = phases_[phase].calls[i];
    call.layer = &layer;
    call.inputs = table.inputs.data();
    call.residuals = mixed ? table.residuals.data() : nullptr;
    const bool quantised = phase == last ? false
                           : middle      ? middle_is_quantised(network, level)
                                         : output_is_quantised(network, level);
    call.outputs = middle && quantised ? nullptr : table.outputs.data();
    call.quantised = quantised ? table.quantised.data() : nullptr;
    if (quantised)
      call.quantum = middle ? network.levels[level].mix.layer.input_scale
                            : network.levels[level + 1].conv.layer.input_scale;
  }
}

void Passes::set_columns(std::size_t phase, std::size_t network, std::int64_t n) {
  phases_[phase].calls[network].n_columns = n;
}

}  // namespace vp3d::cpu

namespace vp3d::detail {

EngineState::EngineState(const std::string& weights_file, std::vector<Network> networks,
                         Precision precision, const EngineOptions& options)
    : kernels(cpu::find_kernels(options.isa)), isa(cpu::find_kernels(options.isa).name) {
  constexpr int kMostThreads = 1024;
  if (options.threads < 0 || options.threads > kMostThreads)
    throw std::invalid_argument("threads must be 0 to " + std::to_string(kMostThreads) +
                                ", not " + std::to_string(options.threads));
  if (networks.empty()) throw std::invalid_argument("an engine runs at least one network");
  for (const Network& network : networks) {
    network.spec.validate();
    const ModelSpec &one = networks[0].spec, &other = network.spec;
    if (one.filter_widths != other.filter_widths || one.causal != other.causal ||
        one.joints_in != other.joints_in || one.features != other.features)
      throw std::invalid_argument("the networks of an engine must read the same frames; \"" +
                                  network.name + "\" differs from \"" + networks[0].name + '"');
  }
  const cpu::SafetensorsFile file(weights_file);
  pool = cpu::ThreadPool::shared(options.threads ? options.threads : cpu::cores_at_hand(),
                                 options.pin_threads);
  weights = std::make_unique<cpu::PackedWeights>(file, networks, precision, kernels, *pool);
  work_ = std::make_unique<cpu::WorkSharing>(kernels, *pool, weights->networks());
}

}  // namespace vp3d::detail
