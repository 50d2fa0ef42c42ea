#include "clip_plan.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace vp3d::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;

// Columns of one level: of one item, and of the batch.
struct Level {
  std::int64_t item_columns = 0, columns = 0;
};

// Memory that the levels of one network take turns to use: two columns each, because a level is
// made from the one below.
struct Space {
  std::int64_t wide[2] = {}, narrow[2] = {}, middle = 0, answer = 0;
};

}  // namespace

class ClipPlanner {
 public:
  ClipPlanner(const ClipWeights& weights, const Device& device, std::int64_t batch,
              std::int64_t frames, bool strided)
      : weights_(weights), device_(device), strided_(strided) {
    plan_.batch = batch;
    plan_.frames = frames;
    plan_.answer_frames = strided ? 1 : frames - spec().receptive_field() + 1;
    count_columns();
    lay_out();
  }

  ClipPlan run() {
    if (weights_.processing_.joints_seen > 0)
      add_frames("vp3d_clip_prepare", prepared_numbers(frames_));
    const std::size_t phases = 2 * levels_.size();
    for (std::size_t phase = 0; phase < phases; ++phase) add_phase(phase);
    if (finishes()) {
      frames_.frames = plan_.batch * plan_.answer_frames;
      frames_.item_frames = plan_.answer_frames;
      add_frames("vp3d_clip_finish", finished_numbers(frames_));
    }
    return std::move(plan_);
  }

 private:
  const ModelSpec& spec() const { return weights_.networks_[0].spec; }
  bool finishes() const { return weights_.processing_.add_trajectory; }
  std::int64_t frame_numbers() const { return spec().joints_in * spec().features; }

  void count_columns() {
    std::int64_t columns = plan_.frames;
    const std::vector<std::int64_t> dilations = spec().dilations();
    for (std::size_t level = 0; level < dilations.size(); ++level) {
      const std::int64_t width = spec().filter_widths[level];
      columns = strided_ ? columns / width : columns - (width - 1) * dilations[level];
      levels_.push_back({columns, columns * plan_.batch});
    }
  }

  std::int64_t take(std::int64_t bytes) {
    const std::int64_t at = plan_.workspace_bytes;
    plan_.workspace_bytes += ceil_div(bytes, kAlignment) * kAlignment;
    return at;
  }

  const ClipLayer& layer(std::size_t network, std::size_t phase) const {
    return weights_.layers_[network][phase];
  }
  // What a level's columns are copied to for the next level's convolution.
  Number narrow_type(std::size_t network, std::size_t level) const {
    return level + 1 == levels_.size() ? Number::f32 : layer(network, 2 * level + 1).type;
  }

  void lay_out() {
    const Processing& processing = weights_.processing_;
    const std::int64_t views = processing.needs_views() ? plan_.batch : 0;
    frames_.tables = weights_.tables_;
    frames_.seen = views * static_cast<std::int64_t>(sizeof(View));
    frames_.frames = plan_.batch * plan_.frames;
    frames_.item_frames = plan_.frames;
    const std::int64_t seen =
        processing.joints_seen > 0 ? processing.joints_seen * spec().features : frame_numbers();
    plan_.input_bytes = frames_.seen + frames_.frames * seen * 4;
    if (processing.joints_seen > 0) frames_.prepared = take(frames_.frames * frame_numbers() * 4);
    frames_.n_networks = static_cast<std::int32_t>(weights_.networks_.size());
    for (std::size_t network = 0; network < weights_.networks_.size(); ++network)
      lay_out_network(network);
  }

  void lay_out_network(std::size_t network) {
    const ModelSpec& own = weights_.networks_[network].spec;
    Space space;
    std::int64_t wide[2] = {}, narrow[2] = {}, middle = 0;
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const std::int64_t columns = levels_[level].columns;
      std::int64_t& own_wide = wide[level % 2];
      std::int64_t& own_narrow = narrow[level % 2];
      own_wide = std::max(own_wide, columns * clip_column_bytes(own.channels, Number::f32));
      if (narrow_type(network, level) != Number::f32)
        own_narrow = std::max(
            own_narrow, columns * clip_column_bytes(own.channels, narrow_type(network, level)));
      if (level > 0)
        middle = std::max(middle, columns * clip_column_bytes(own.channels,
                                                              layer(network, 2 * level).type));
    }
    for (int i = 0; i < 2; ++i) {
      space.wide[i] = take(wide[i]);
      space.narrow[i] = take(narrow[i]);
    }
    space.middle = take(middle);
    const std::int64_t rows = own.joints_out * 3;
    const std::int64_t bytes = plan_.batch * plan_.answer_frames * rows * 4;
    plan_.answers.push_back(plan_.answer_bytes);
    plan_.answer_bytes += bytes;
    space.answer = finishes() ? take(bytes) : plan_.answers.back();
    if (network < kMostNetworks)
      frames_.networks[network] = {space.answer, plan_.answers.back(),
                                   static_cast<std::int32_t>(rows), 0};
    spaces_.push_back(space);
  }

  Reach reach(std::size_t level) const {
    if (strided_) {
      const auto columns = static_cast<std::int32_t>(levels_[level].columns);
      return {columns, 0, static_cast<std::int32_t>(spec().filter_widths[level]), 0};
    }
    const std::int64_t below = level == 0 ? plan_.frames : levels_[level - 1].item_columns;
    return {static_cast<std::int32_t>(levels_[level].item_columns),
            static_cast<std::int32_t>(below), 1, 0};
  }

  std::int32_t spacing(std::size_t level) const {
    return strided_ ? 1 : static_cast<std::int32_t>(spec().dilations()[level]);
  }

  // Phases are as in read_layers: 0 the first level, 2k-1 and 2k level k's convolution and mix, the
  // last is shrink.
  ClipProduct product(std::size_t network, std::size_t phase) const {
    const ClipLayer& layer = this->layer(network, phase);
    const bool last = phase + 1 == 2 * levels_.size();
    const std::size_t level = last ? levels_.size() - 1 : (phase + 1) / 2;
    ClipProduct product{};
    product.weights = layer.weights;
    product.bias = layer.bias;
    product.scale = layer.scale;
    product.residual = product.wide = product.narrow = product.answer = -1;
    product.rows = static_cast<std::int32_t>(layer.rows);
    product.columns = static_cast<std::int32_t>(levels_[level].columns);
    product.taps = static_cast<std::int32_t>(layer.taps);
    product.tap_steps = static_cast<std::int32_t>(steps_of(layer.inputs, layer.type));
    product.reach = {product.columns, 0, 1, 0};
    product.spacing = 1;
    product.source = ClipSource::workspace;
    product.relu = last ? 0 : 1;
    product.quantum = 1.0F;
    if (phase == 0)
      point_first(product, network);
    else if (last)
      point_shrink(product, network, level);
    else
      point_inner(product, network, phase, level);
    if (!last && (phase == 0 || phase % 2 == 0)) point_level(product, network, level);
    return product;
  }

  // The frames of a column lie one behind the other: one tap, without padding.
  void point_first(ClipProduct& product, std::size_t network) const {
    const bool prepared = weights_.processing_.joints_seen > 0;
    product.source = prepared ? ClipSource::workspace : ClipSource::input;
    product.below = prepared ? frames_.prepared : frames_.seen;
    product.below_bytes = static_cast<std::int32_t>(frame_numbers() * 4);
    product.dense_inputs = static_cast<std::int32_t>(layer(network, 0).inputs);
    product.reach = reach(0);
  }

  void point_inner(ClipProduct& product, std::size_t network, std::size_t phase,
                   std::size_t level) const {
    const ClipLayer& own = layer(network, phase);
    const Space& space = spaces_[network];
    const std::int64_t channels = weights_.networks_[network].spec.channels;
    product.below_bytes = static_cast<std::int32_t>(clip_column_bytes(channels, own.type));
    const std::size_t below = (level - 1) % 2;
    if (phase % 2 == 0) {  // mix
      product.below = space.middle;
      product.residual = space.wide[below];
      product.residual_bytes =
          static_cast<std::int32_t>(clip_column_bytes(channels, Number::f32));
      product.residual_reach = reach(level);
      product.residual_reach.first =
          static_cast<std::int32_t>(spec().residual_tap(level)) * spacing(level);
      return;
    }
    product.below = own.type == Number::f32 ? space.wide[below] : space.narrow[below];
    product.reach = reach(level);
    product.spacing = spacing(level);
    store(product, space.middle, space.middle, channels, layer(network, phase + 1));
    if (product.narrow >= 0) product.wide = -1;
  }

  void point_level(ClipProduct& product, std::size_t network, std::size_t level) const {
    const Space& space = spaces_[network];
    const std::int64_t channels = weights_.networks_[network].spec.channels;
    store(product, space.wide[level % 2], space.narrow[level % 2], channels,
          layer(network, 2 * level + 1));
  }

  // Where outputs go that `next` reads, or will be added to.
  static void store(ClipProduct& product, std::int64_t wide, std::int64_t narrow,
                    std::int64_t channels, const ClipLayer& next) {
    product.wide = wide;
    product.wide_bytes = static_cast<std::int32_t>(clip_column_bytes(channels, Number::f32));
    if (next.type == Number::f32) return;
    product.narrow = narrow;
    product.narrow_type = next.type;
    product.narrow_bytes = static_cast<std::int32_t>(clip_column_bytes(channels, next.type));
    product.quantum = next.input_scale;
  }

  void point_shrink(ClipProduct& product, std::size_t network, std::size_t level) const {
    const Space& space = spaces_[network];
    product.below = space.wide[level % 2];
    product.below_bytes = static_cast<std::int32_t>(
        clip_column_bytes(weights_.networks_[network].spec.channels, Number::f32));
    product.answer = space.answer;
    product.answers_inside = finishes() ? 1 : 0;
  }

  // Products of one type share a launch, as many as it takes.
  void add_phase(std::size_t phase) {
    std::vector<std::size_t> left(weights_.networks_.size());
    for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
    while (!left.empty()) {
      const Number type = layer(left[0], phase).type;
      std::vector<ClipProduct> together;
      std::vector<std::size_t> later;
      for (const std::size_t network : left) {
        if (layer(network, phase).type == type && together.size() < kClipProducts)
          together.push_back(product(network, phase));
        else
          later.push_back(network);
      }
      add_launch(type, together);
      left = later;
    }
  }

  void add_launch(Number type, const std::vector<ClipProduct>& products) {
    std::vector<Extent> extents;
    for (const ClipProduct& product : products)
      extents.push_back({product.columns, product.rows,
                         std::int64_t{product.taps} * product.tap_steps});
    const ClipKernel& kernel = choose_kernel(type, extents, device_);
    ClipLaunch launch;
    launch.kernel = std::string("vp3d_clip_") + kernel.name;
    launch.threads = kernel.threads;
    ClipArguments arguments{};
    arguments.stages = stages_of(kernel, device_);
    launch.shared_bytes = shared_bytes_of(kernel, arguments.stages);
    for (std::size_t i = 0; i < products.size(); ++i) {
      ClipProduct& own = arguments.products[i];
      own = products[i];
      own.row_tiles = static_cast<std::int32_t>(row_tiles_of(kernel, extents[i]));
      const std::int64_t blocks = blocks_of(kernel, extents[i]);
      own.blocks = static_cast<std::int32_t>(blocks);
      launch.blocks += blocks;
    }
    add(launch, arguments);
  }

  void add_frames(const char* kernel, std::int64_t numbers) {
    ClipLaunch launch;
    launch.kernel = kernel;
    launch.threads = kFrameThreads;
    launch.blocks = ceil_div(numbers, kFrameThreads);
    add(launch, frames_);
  }

  template <class Arguments>
  void add(ClipLaunch& launch, const Arguments& arguments) {
    check_blocks(launch.blocks);
    launch.arguments.resize(sizeof arguments);
    std::memcpy(launch.arguments.data(), &arguments, sizeof arguments);
    plan_.launches.push_back(std::move(launch));
  }

  const ClipWeights& weights_;
  const Device& device_;
  const bool strided_;
  ClipPlan plan_;
  ClipFrames frames_{};
  std::vector<Level> levels_;
  std::vector<Space> spaces_;  // by network
};

namespace {

void check(std::int64_t batch, std::int64_t frames, const ModelSpec& spec, const Device& device) {
  check_device(device);
  if (batch < 1) throw std::invalid_argument("a batch has at least 1 item, not " +
                                             std::to_string(batch));
  if (frames < spec.receptive_field())
    throw std::invalid_argument("a clip has " + std::to_string(frames) +
                                " frames, fewer than the receptive field of " +
                                std::to_string(spec.receptive_field()) + "; pad it");
  constexpr std::int64_t kMostFrames = std::numeric_limits<std::int32_t>::max() / 2;
  if (frames > kMostFrames / batch)
    throw std::invalid_argument("a batch of " + std::to_string(batch) + " with " +
                                std::to_string(frames) + " frames each is more than " +
                                std::to_string(kMostFrames) + " frames; split it");
}

}  // namespace

ClipPlan plan_window(const ClipWeights& weights, std::int64_t batch, const Device& device) {
  const ModelSpec& spec = weights.networks()[0].spec;
  check(batch, spec.receptive_field(), spec, device);
  return ClipPlanner(weights, device, batch, spec.receptive_field(), true).run();
}

ClipPlan plan_sequence(const ClipWeights& weights, std::int64_t batch, std::int64_t frames,
                       const Device& device) {
  check(batch, frames, weights.networks()[0].spec, device);
  return ClipPlanner(weights, device, batch, frames, false).run();
}

}  // namespace vp3d::cuda
