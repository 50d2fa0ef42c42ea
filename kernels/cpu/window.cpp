// Single windows, in strided form: a level as wide as its stride reads each column once.
#include <algorithm>
#include <cstring>

#include "forms.hpp"

namespace vp3d::detail {
namespace {

// Columns of the first level that are worked on at a time: enough to share each pass over the
// weights among several windows, few enough that the space which stays between calls is small (five
// windows of 243 frames and 1024 channels: 3 MB).
constexpr std::int64_t kFirstColumns = 420;

// Space for the columns of one level of one network, and for those of its middle.
struct LevelSpace {
  cpu::Memory columns, bytes, middle;
};

}  // namespace

class WindowRun {
 public:
  WindowRun(EngineState& engine, std::int64_t windows)
      : windows(windows),
        engine_(engine),
        networks_(engine.weights->networks()),
        passes_(networks_) {
    const std::size_t levels = engine.spec().filter_widths.size();
    for (std::size_t level = 0; level < levels; ++level) {
      passes_.resize(cpu::Passes::conv_phase(level), windows * columns(level));
      if (level > 0) passes_.resize(cpu::Passes::mix_phase(level), windows * columns(level));
    }
    passes_.resize(passes_.shrink_phase(), windows);
    for (const cpu::PackedNetwork& network : networks_) {
      auto& spaces = spaces_.emplace_back(levels);
      for (std::size_t level = 0; level < levels; ++level) {
        const std::int64_t size = windows * columns(level) * network.channels;
        spaces[level].columns = cpu::allocate(size * 4);
        if (cpu::output_is_quantised(network, level)) spaces[level].bytes = cpu::allocate(size);
        if (level > 0)
          spaces[level].middle =
              cpu::allocate(size * (cpu::middle_is_quantised(network, level) ? 1 : 4));
      }
      answers_.push_back(cpu::allocate(windows * network.shrink.layer.rows * 4));
    }
  }

  const std::int64_t windows;  // at most, of one call

  void operator()(const float* keypoints, std::int64_t n_windows,
                  const std::vector<float*>& answers) {
    for (std::size_t network = 0; network < networks_.size(); ++network) {
      for (std::size_t level = 0; level < spaces_[network].size(); ++level)
        point_level(network, level, keypoints, n_windows);
      point_shrink(network, n_windows);
    }
    engine_.run(passes_.phases());
    for (std::size_t network = 0; network < networks_.size(); ++network) {
      const cpu::Product& shrink = networks_[network].shrink;
      const auto* from = reinterpret_cast<const float*>(answers_[network].get());
      for (std::int64_t i = 0; i < n_windows; ++i)
        std::copy_n(from + i * shrink.layer.rows, shrink.answers,
                    answers[network] + i * shrink.answers);
    }
  }

 private:
  // Of each level, in one window.
  std::int64_t columns(std::size_t level) const {
    std::int64_t count = engine_.spec().receptive_field();
    for (std::size_t k = 0; k <= level; ++k) count /= engine_.spec().filter_widths[k];
    return count;
  }

  void point_level(std::size_t network, std::size_t level, const float* keypoints,
                   std::int64_t windows) {
    const cpu::PackedNetwork& packed = networks_[network];
    LevelSpace& space = spaces_[network][level];
    const ModelSpec& spec = packed.spec;
    const std::int64_t width = spec.filter_widths[level];
    const std::int64_t frame = spec.joints_in * spec.features;
    const bool bytes_in = packed.levels[level].conv.layer.type == cpu::WeightType::i8;
    const std::int64_t middle_size =
        packed.channels * (cpu::middle_is_quantised(packed, level) ? 1 : 4);
    cpu::ColumnTable& conv = passes_.table(cpu::Passes::conv_phase(level), network);
    cpu::ColumnTable& mix = passes_.table(level ? cpu::Passes::mix_phase(level) : 0, network);
    const std::int64_t count = windows * columns(level);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto n = static_cast<std::size_t>(i);
      for (std::int64_t tap = 0; tap < width; ++tap) {
        const std::int64_t from = i * width + tap;
        const void*& input = conv.inputs[static_cast<std::size_t>(from)];
        if (level == 0) input = keypoints + from * frame;
        else if (bytes_in) input = spaces_[network][level - 1].bytes.get() + from * packed.channels;
        else input = below(network, level, packed.channels, from);
      }
      if (level > 0) {
        std::byte* middle = space.middle.get() + i * middle_size;
        conv.outputs[n] = reinterpret_cast<float*>(middle);
        conv.quantised[n] = reinterpret_cast<std::uint8_t*>(middle);
        mix.inputs[n] = middle;
        mix.residuals[n] =
            below(network, level, packed.channels, i * width + spec.residual_tap(level));
      }
      mix.outputs[n] = reinterpret_cast<float*>(space.columns.get()) + i * packed.channels;
      if (space.bytes)
        mix.quantised[n] =
            reinterpret_cast<std::uint8_t*>(space.bytes.get()) + i * packed.channels;
    }
    passes_.set_columns(cpu::Passes::conv_phase(level), network, count);
    if (level > 0) passes_.set_columns(cpu::Passes::mix_phase(level), network, count);
  }

  const float* below(std::size_t network, std::size_t level, std::int64_t channels,
                     std::int64_t column) const {
    return reinterpret_cast<const float*>(spaces_[network][level - 1].columns.get()) +
           column * channels;
  }

  void point_shrink(std::size_t network, std::int64_t windows) {
    const cpu::PackedNetwork& packed = networks_[network];
    cpu::ColumnTable& shrink = passes_.table(passes_.shrink_phase(), network);
    for (std::int64_t i = 0; i < windows; ++i) {
      const auto n = static_cast<std::size_t>(i);
      shrink.inputs[n] = below(network, spaces_[network].size(), packed.channels, i);
      shrink.outputs[n] =
          reinterpret_cast<float*>(answers_[network].get()) + i * packed.shrink.layer.rows;
    }
    passes_.set_columns(passes_.shrink_phase(), network, windows);
  }

  EngineState& engine_;
  const std::vector<cpu::PackedNetwork>& networks_;
  cpu::Passes passes_;
  std::vector<std::vector<LevelSpace>> spaces_;  // by network, by level
  std::vector<cpu::Memory> answers_;             // by network
};

SpareWindowRun::~SpareWindowRun() { delete run_.load(); }

std::unique_ptr<WindowRun> SpareWindowRun::take(std::int64_t windows) {
  std::unique_ptr<WindowRun> run(run_.exchange(nullptr));
  if (run != nullptr && run->windows < windows) run.reset();
  return run;
}

void SpareWindowRun::put_back(std::unique_ptr<WindowRun> run) {
  const std::unique_ptr<WindowRun> other(run_.exchange(run.release()));
}

void run_window(EngineState& engine, const float* keypoints, std::int64_t batch,
                const std::vector<float*>& answers) {
  if (batch == 0) return;
  const ModelSpec& spec = engine.spec();
  const std::int64_t first = spec.receptive_field() / spec.filter_widths[0];
  const std::int64_t most = std::clamp<std::int64_t>(kFirstColumns / first, 1, batch);
  const std::int64_t runs = (batch + most - 1) / most;
  const std::int64_t together = (batch + runs - 1) / runs;
  const std::int64_t window = spec.receptive_field() * spec.joints_in * spec.features;
  std::unique_ptr<WindowRun> run = engine.spare_window_run.take(together);
  if (run == nullptr) run = std::make_unique<WindowRun>(engine, together);
  for (std::int64_t begin = 0; begin < batch; begin += together) {
    std::vector<float*> to;
    for (std::size_t network = 0; network < answers.size(); ++network)
      to.push_back(answers[network] +
                   begin * engine.weights->networks()[network].shrink.answers);
    (*run)(keypoints + begin * window, std::min(together, batch - begin), to);
  }
  engine.spare_window_run.put_back(std::move(run));
}

}  // namespace vp3d::detail
