// Whole clips, in dilated form: a clip passes through all levels in chunks of columns, each level
// keeping the columns that the next one will read again.
#include <algorithm>
#include <cstring>

#include "forms.hpp"

namespace vp3d::detail {
namespace {

// Columns of a chunk: as many as share a pass over the weights well, and whose memory stays small.
std::int64_t chunk_columns(std::int64_t channels) {
  return std::clamp<std::int64_t>(256 * 1024 / channels, 256, 2048);
}

// The columns of one level of one network that are at hand: [first, end) of the clip's.
struct Held {
  cpu::Memory columns, bytes, middle;
  std::int64_t first = 0, end = 0;
};

class SequenceRun {
 public:
  SequenceRun(EngineState& engine)
      : engine_(engine),
        networks_(engine.weights->networks()),
        passes_(networks_),
        dilations_(engine.spec().dilations()) {
    for (const cpu::PackedNetwork& network : networks_)
      chunk_ = std::max(chunk_, chunk_columns(network.channels));
    const std::size_t levels = dilations_.size();
    for (std::size_t phase = 0; phase <= passes_.shrink_phase(); ++phase)
      passes_.resize(phase, chunk_);
    for (const cpu::PackedNetwork& network : networks_) {
      auto& all = held_.emplace_back(levels);
      for (std::size_t level = 0; level < levels; ++level) {
        const std::int64_t size = (kept(level) + chunk_) * network.channels;
        all[level].columns = cpu::allocate(size * 4);
        if (cpu::output_is_quantised(network, level)) all[level].bytes = cpu::allocate(size);
        if (level > 0)
          all[level].middle =
              cpu::allocate(chunk_ * network.channels *
                            (cpu::middle_is_quantised(network, level) ? 1 : 4));
      }
      answers_.push_back(cpu::allocate(chunk_ * network.shrink.layer.rows * 4));
    }
  }

  void operator()(const float* keypoints, std::int64_t frames, std::vector<float*> answers) {
    for (auto& all : held_)
      for (Held& held : all) held.first = held.end = 0;
    const std::int64_t total = frames - engine_.spec().receptive_field() + 1;
    while (held_[0].back().end < total) {
      for (std::size_t network = 0; network < networks_.size(); ++network) {
        for (std::size_t level = 0; level < dilations_.size(); ++level)
          point_level(network, level, keypoints, frames);
        point_shrink(network);
      }
      engine_.run(passes_.phases());
      for (std::size_t network = 0; network < networks_.size(); ++network) {
        const cpu::Product& shrink = networks_[network].shrink;
        const std::int64_t n = new_answers_[network];
        const auto* from = reinterpret_cast<const float*>(answers_[network].get());
        for (std::int64_t i = 0; i < n; ++i, answers[network] += shrink.answers)
          std::copy_n(from + i * shrink.layer.rows, shrink.answers, answers[network]);
        for (std::size_t level = 0; level < dilations_.size(); ++level) forget(network, level);
      }
    }
  }

 private:
  // How many columns of a level the next one reads again.
  std::int64_t kept(std::size_t level) const {
    if (level + 1 == dilations_.size()) return 0;
    return (engine_.spec().filter_widths[level + 1] - 1) * dilations_[level + 1];
  }

  void point_level(std::size_t network, std::size_t level, const float* keypoints,
                   std::int64_t frames) {
    const cpu::PackedNetwork& packed = networks_[network];
    const ModelSpec& spec = packed.spec;
    Held& held = held_[network][level];
    Held* source = level ? &held_[network][level - 1] : nullptr;
    const std::int64_t reach = (spec.filter_widths[level] - 1) * dilations_[level];
    const std::int64_t at_hand = source ? source->end : frames;
    std::int64_t n = std::max<std::int64_t>(at_hand - reach - held.end, 0);
    n = std::min(n, chunk_);
    const std::int64_t C = packed.channels;
    const std::int64_t frame = spec.joints_in * spec.features;
    const bool bytes_in = packed.levels[level].conv.layer.type == cpu::WeightType::i8;
    const std::int64_t middle_size = C * (cpu::middle_is_quantised(packed, level) ? 1 : 4);
    cpu::ColumnTable& conv = passes_.table(cpu::Passes::conv_phase(level), network);
    cpu::ColumnTable& mix = passes_.table(level ? cpu::Passes::mix_phase(level) : 0, network);
    std::size_t input = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto c = static_cast<std::size_t>(i);
      const std::int64_t place = held.end + i;
      for (std::int64_t tap = 0; tap < spec.filter_widths[level]; ++tap) {
        const std::int64_t from = place + tap * dilations_[level];
        if (source == nullptr) conv.inputs[input++] = keypoints + from * frame;
        else if (bytes_in) conv.inputs[input++] = source->bytes.get() + (from - source->first) * C;
        else conv.inputs[input++] = column(*source, from, C);
      }
      if (source != nullptr) {
        std::byte* middle = held.middle.get() + i * middle_size;
        conv.outputs[c] = reinterpret_cast<float*>(middle);
        conv.quantised[c] = reinterpret_cast<std::uint8_t*>(middle);
        mix.inputs[c] = middle;
        mix.residuals[c] =
            column(*source, place + spec.residual_tap(level) * dilations_[level], C);
      }
      mix.outputs[c] = column(held, place, C);
      if (held.bytes)
        mix.quantised[c] =
            reinterpret_cast<std::uint8_t*>(held.bytes.get()) + (place - held.first) * C;
    }
    held.end += n;
    passes_.set_columns(cpu::Passes::conv_phase(level), network, n);
    if (source != nullptr) passes_.set_columns(cpu::Passes::mix_phase(level), network, n);
    if (level + 1 == dilations_.size()) {
      new_answers_.resize(networks_.size());
      new_answers_[network] = n;
    }
  }

  void point_shrink(std::size_t network) {
    const cpu::PackedNetwork& packed = networks_[network];
    const Held& top = held_[network].back();
    cpu::ColumnTable& shrink = passes_.table(passes_.shrink_phase(), network);
    const std::int64_t n = new_answers_[network];
    for (std::int64_t i = 0; i < n; ++i) {
      const auto c = static_cast<std::size_t>(i);
      shrink.inputs[c] = column(top, top.end - n + i, packed.channels);
      shrink.outputs[c] =
          reinterpret_cast<float*>(answers_[network].get()) + i * packed.shrink.layer.rows;
    }
    passes_.set_columns(passes_.shrink_phase(), network, n);
  }

  static float* column(const Held& held, std::int64_t place, std::int64_t channels) {
    return reinterpret_cast<float*>(held.columns.get()) + (place - held.first) * channels;
  }

  // Moves the columns that are still needed to the front.
  void forget(std::size_t network, std::size_t level) {
    Held& held = held_[network][level];
    const std::int64_t first = std::max(held.first, held.end - kept(level));
    const auto size = static_cast<std::size_t>(networks_[network].channels);
    const auto skipped = static_cast<std::size_t>(first - held.first) * size;
    const auto count = static_cast<std::size_t>(held.end - first) * size;
    std::memmove(held.columns.get(), held.columns.get() + skipped * 4, count * 4);
    if (held.bytes) std::memmove(held.bytes.get(), held.bytes.get() + skipped, count);
    held.first = first;
  }

  EngineState& engine_;
  const std::vector<cpu::PackedNetwork>& networks_;
  cpu::Passes passes_;
  const std::vector<std::int64_t> dilations_;
  std::int64_t chunk_ = 0;
  std::vector<std::vector<Held>> held_;  // by network, by level
  std::vector<cpu::Memory> answers_;     // by network
  std::vector<std::int64_t> new_answers_;
};

}  // namespace

void run_sequence(EngineState& engine, const float* keypoints, std::int64_t batch,
                  std::int64_t frames, const std::vector<float*>& answers) {
  const ModelSpec& spec = engine.spec();
  if (frames < spec.receptive_field())
    throw std::invalid_argument("a sequence has at least " +
                                std::to_string(spec.receptive_field()) + " frames, not " +
                                std::to_string(frames));
  if (batch == 0) return;
  SequenceRun run(engine);
  const std::int64_t poses = frames - spec.receptive_field() + 1;
  for (std::int64_t clip = 0; clip < batch; ++clip) {
    std::vector<float*> to;
    for (std::size_t network = 0; network < answers.size(); ++network)
      to.push_back(answers[network] +
                   clip * poses * engine.weights->networks()[network].shrink.answers);
    run(keypoints + clip * frames * spec.joints_in * spec.features, frames, to);
  }
}

}  // namespace vp3d::detail
