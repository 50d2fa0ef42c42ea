#include "image.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "frame.hpp"
#include "processing_tables.hpp"
#include "product.hpp"
#include "read_layers.hpp"
#include "vp3d/plan.hpp"

namespace vp3d::cuda {
namespace {

constexpr std::int64_t kAlignment = 128;  // of tables and weights: a line of the caches
constexpr std::int64_t kDutyPart = 4;  // of shared memory, at most, for what a block has to do

std::int64_t level_of(std::size_t phase) { return static_cast<std::int64_t>((phase + 1) / 2); }

// The oldest column of the level below that a level's residuals read.
std::int64_t oldest_residual(const ModelSpec& spec, const LevelPlan& plan, std::size_t level) {
  std::int64_t age = 0;
  for (const PlannedColumn& column : plan.columns)
    age = std::max(age, column.taps[static_cast<std::size_t>(spec.residual_tap(level))].age);
  return age;
}

class Builder {
 public:
  Builder(const cpu::SafetensorsFile& file, const std::vector<Network>& networks,
          Precision precision, std::int64_t lag, const Grid& grid, const Processing& processing)
      : networks_(networks),
        grid_(grid),
        processing_(processing),
        plan_(stream_plan(networks[0].spec, lag)) {
    for (const Network& network : networks)
      layers_.push_back(read_layers(file, network, precision));
  }

  std::vector<std::byte> run() {
    image_.resize(sizeof(Image));
    header_.magic = kImageMagic;
    header_.phases = static_cast<std::int32_t>(2 * plan_.levels.size());
    header_.blocks = grid_.blocks;
    header_.tensor_columns = grid_.tensor_columns;
    lay_out_place();
    add_products();
    add_items();
    header_.bytes = static_cast<std::int64_t>(image_.size());
    std::memcpy(image_.data(), &header_, sizeof header_);
    return std::move(image_);
  }

 private:
  // Room at the end of the image; zeros.
  std::int64_t room(std::int64_t bytes, std::int64_t alignment = kAlignment) {
    const std::int64_t at =
        ceil_div(static_cast<std::int64_t>(image_.size()), alignment) * alignment;
    image_.resize(static_cast<std::size_t>(at + bytes));
    return at;
  }

  template <class Entry>
  std::int64_t add(const std::vector<Entry>& entries, std::int64_t alignment = kAlignment) {
    const auto bytes = static_cast<std::int64_t>(entries.size() * sizeof(Entry));
    const std::int64_t at = room(bytes, alignment);
    if (bytes > 0) std::memcpy(image_.data() + at, entries.data(), static_cast<std::size_t>(bytes));
    return at;
  }

  std::int64_t take(std::int64_t bytes) {
    const std::int64_t at = header_.place_bytes;
    header_.place_bytes += bytes;
    return at;
  }

  std::int32_t slots(std::int64_t oldest) {
    cycle_ = std::lcm(cycle_, static_cast<std::uint64_t>(oldest) + 1);
    if (cycle_ > 0x40000000U) cycle_ = 0;  // lcm(0, n) stays 0
    return static_cast<std::int32_t>(oldest + 1);
  }

  const Layer& layer(std::size_t network, std::size_t phase) const {
    return layers_[network][phase];
  }

  void lay_out_place() {
    const ModelSpec& spec = networks_[0].spec;
    input_.bytes = column_bytes(spec.joints_in * spec.features, Number::f32);
    input_.slots = slots(plan_.ring_lengths[0]);
    input_.ring = take(input_.slots * input_.bytes);
    add_processing();
    for (std::size_t i = 0; i < networks_.size(); ++i) {
      stores_.emplace_back();
      std::int64_t middle = 0;
      for (std::size_t level = 0; level < plan_.levels.size(); ++level) {
        stores_[i].push_back(lay_out_level(i, level));
        if (level > 0)
          middle = std::max(middle, static_cast<std::int64_t>(plan_.levels[level].columns.size()) *
                                        middle_bytes(i, level));
      }
      // One for all levels: what a mix reads was written in the phase before.
      middles_.push_back(take(middle));
    }
    header_.frame_cycle = static_cast<std::uint32_t>(cycle_);
  }

  void add_processing() {
    ProcessingTables& tables = header_.processing;
    tables = processing_tables(processing_, networks_);
    const std::int64_t seen = tables.joints_seen > 0 ? tables.joints_seen : tables.joints_in;
    header_.frame_row_bytes = column_bytes(seen * tables.features, Number::f32);
    header_.frame_view_bytes =
        processing_.needs_views() ? static_cast<std::int64_t>(sizeof(View)) : 0;
    header_.prepared_bytes = input_.bytes;
    header_.prepared = tables.joints_seen > 0 ? take(input_.bytes) : 0;
    header_.raw_answer =
        processing_.add_trajectory ? take(column_bytes(tables.answer_floats, Number::f32)) : 0;
  }

  std::int64_t middle_bytes(std::size_t network, std::size_t level) const {
    return column_bytes(networks_[network].spec.channels, layer(network, 2 * level).type);
  }

  Store lay_out_level(std::size_t network, std::size_t level) {
    const bool top = level + 1 == plan_.levels.size();
    const Number reader = top ? Number::f32 : layer(network, 2 * level + 1).type;
    const bool narrow = reader != Number::f32;
    const std::int64_t ring = top ? 0 : plan_.ring_lengths[level + 1];
    const ModelSpec& spec = networks_[network].spec;
    Store store{};
    store.bytes = column_bytes(spec.channels, Number::f32);
    store.slots =
        slots(narrow ? oldest_residual(spec, plan_.levels[level + 1], level + 1) : ring);
    store.ring = take(store.slots * store.bytes);
    store.others = take(2 * store.bytes);
    if (!narrow) return store;
    store.narrow_bytes = column_bytes(spec.channels, reader);
    store.narrow_slots = slots(ring);
    store.narrow_ring = take(store.narrow_slots * store.narrow_bytes);
    store.narrow_others = take(2 * store.narrow_bytes);
    return store;
  }

  // The beginning of the image holds what a block wants near: header, products, their columns.
  void add_products() {
    const std::size_t count = 2 * plan_.levels.size() * networks_.size();
    header_.product_table = room(static_cast<std::int64_t>(count * sizeof(Product)));
    for (std::size_t phase = 0; phase < 2 * plan_.levels.size(); ++phase) {
      std::int32_t answer = 0;
      for (std::size_t i = 0; i < networks_.size(); ++i) {
        products_.push_back(product(i, phase));
        products_.back().answer = answer;
        answer += products_.back().rows;
      }
      header_.answer_floats = answer;  // of the last phase, in the end
    }
    header_.products = static_cast<std::int32_t>(count);
    header_.processing.joints = add(processing_.joints);
    header_.processing.shares = add(processing_.shares);
    const std::int64_t near = room(0);
    header_.near_bytes =
        static_cast<std::int32_t>(std::min<std::int64_t>(near, kNearTableBytes + 1));
    for (std::size_t i = 0; i < count; ++i) {
      const Layer& layer = this->layer(i % networks_.size(), i / networks_.size());
      products_[i].bias = add(layer.bias);
      products_[i].scale = add(layer.scale);
      products_[i].tile_table = room(ceil_div(layer.rows, kTileRows) * 8);
    }
    std::memcpy(image_.data() + header_.product_table, products_.data(), count * sizeof(Product));
  }

  Product product(std::size_t network, std::size_t phase) {
    const ModelSpec& spec = networks_[network].spec;
    const Layer& layer = this->layer(network, phase);
    const bool last = phase + 1 == 2 * plan_.levels.size();
    const auto level = static_cast<std::size_t>(last ? level_of(phase) - 1 : level_of(phase));
    Product product{};
    product.role = last         ? Role::shrink
                   : phase == 0 ? Role::first
                   : phase % 2  ? Role::conv
                                : Role::mix;
    product.type = layer.type;
    product.taps = static_cast<std::int32_t>(layer.taps);
    product.tap_steps = static_cast<std::int32_t>(steps_of(layer.inputs, layer.type));
    product.rows = static_cast<std::int32_t>(layer.rows);
    product.narrow = last || phase + 2 == 2 * plan_.levels.size()
                         ? Number::f32
                         : this->layer(network, phase + 1).type;
    product.quantum = last ? 1.0F : this->layer(network, phase + 1).input_scale;
    const auto& stores = stores_[network];
    product.own = stores[level];
    product.below = last ? stores[level] : level == 0 ? input_ : stores[level - 1];
    product.middle = middles_[network];
    product.middle_bytes = level == 0 ? 0 : middle_bytes(network, level);
    product.residual_tap = static_cast<std::int32_t>(last ? 0 : spec.residual_tap(level));
    add_columns(product, last ? LevelPlan{{{plan_.answer, {{plan_.answer, 0}}}}}
                              : plan_.levels[level]);
    return product;
  }

  void add_columns(Product& product, const LevelPlan& plan) {
    std::vector<Tap> taps;
    std::vector<std::int32_t> kinds;
    for (const PlannedColumn& column : plan.columns) {
      kinds.push_back(static_cast<std::int32_t>(column.kind));
      for (const vp3d::Tap& tap : column.taps)
        taps.push_back(
            {static_cast<std::int32_t>(tap.column), static_cast<std::int32_t>(tap.age)});
    }
    product.columns = static_cast<std::int32_t>(kinds.size());
    product.level_taps = static_cast<std::int32_t>(taps.size() / kinds.size());
    product.tap_table = add(taps, kLaneBytes);
    product.kind_table = add(kinds, kLaneBytes);
  }

  // Tiles of a phase go round the blocks, those of the small last layer from the other end: blocks
  // that the others leave idle get it.
  void add_items() {
    const auto blocks = static_cast<std::size_t>(grid_.blocks), phases = 2 * plan_.levels.size();
    std::vector<std::vector<Item>> lists(blocks * phases);
    for (std::size_t phase = 0; phase < phases; ++phase) {
      std::size_t turn = 0;
      for (std::size_t i = 0; i < networks_.size(); ++i) {
        const std::size_t number = phase * networks_.size() + i;
        const std::int64_t tiles = ceil_div(products_[number].rows, kTileRows);
        for (std::int64_t tile = 0; tile < tiles; ++tile, ++turn) {
          const std::size_t block = turn % blocks;
          Item item{};
          item.product = static_cast<std::int32_t>(number);
          item.tile = static_cast<std::int32_t>(tile);
          item.shared = -1;
          lists[(phase + 1 == phases ? blocks - 1 - block : block) * phases + phase].push_back(item);
        }
      }
    }
    std::size_t most = 0;
    for (std::size_t block = 0; block < blocks; ++block) {
      std::size_t items = 0;
      for (std::size_t phase = 0; phase < phases; ++phase)
        items += lists[block * phases + phase].size();
      most = std::max(most, items);
    }
    const auto n_phases = static_cast<std::int64_t>(phases);
    header_.duty_bytes = Duties::items_at(n_phases) +
                         static_cast<std::int64_t>(most * sizeof(Item));
    header_.duties_near = header_.duty_bytes <= grid_.shared_bytes / kDutyPart ? 1 : 0;
    header_.duties = room(header_.duty_bytes * grid_.blocks);
    for (std::size_t block = 0; block < blocks; ++block) add_duties(lists, block);
  }

  void add_duties(std::vector<std::vector<Item>>& lists, std::size_t block) {
    const auto phases = static_cast<std::size_t>(header_.phases);
    std::int64_t staged = header_.duties_near != 0 ? header_.duty_bytes : 0;
    std::int64_t to_fetch = grid_.cache_bytes / 2 / grid_.blocks;
    std::vector<Item> items;
    std::vector<std::int32_t> first_items{0};
    std::vector<Stage> stages;
    for (std::size_t phase = 0; phase < phases; ++phase) {
      std::vector<Item>& list = lists[block * phases + phase];
      Stage stage = pack(list, staged);
      stage.fetched = std::min(stage.rest, to_fetch);
      to_fetch -= stage.fetched;
      stages.push_back(stage);
      items.insert(items.end(), list.begin(), list.end());
      first_items.push_back(static_cast<std::int32_t>(items.size()));
    }
    header_.staged_bytes = std::max(header_.staged_bytes, static_cast<std::int32_t>(staged));
    std::byte* to = image_.data() + header_.duties +
                    static_cast<std::int64_t>(block) * header_.duty_bytes;
    std::memcpy(to, stages.data(), phases * sizeof(Stage));
    std::memcpy(to + Duties::first_items_at(header_.phases), first_items.data(),
                first_items.size() * sizeof first_items[0]);
    if (!items.empty())
      std::memcpy(to + Duties::items_at(header_.phases), items.data(), items.size() * sizeof(Item));
  }

  // The weights of a block in a phase, one behind the other; as many as there is room for are to be
  // staged.
  Stage pack(std::vector<Item>& list, std::int64_t& staged) {
    Stage stage{room(0), static_cast<std::int32_t>(staged), 0, 0, 0};
    for (Item& item : list) {
      const auto number = static_cast<std::size_t>(item.product);
      const Product& product = products_[number];
      const Layer& layer =
          this->layer(number % networks_.size(), number / networks_.size());
      const std::int64_t bytes =
          static_cast<std::int64_t>(product.taps) * product.tap_steps * kFragmentBytes;
      item.weights = room(bytes);
      std::memcpy(image_.data() + product.tile_table + item.tile * std::int64_t{8}, &item.weights,
                  8);
      pack_tile(layer.weights, layer.rows, layer.taps, layer.inputs, layer.type,
                static_cast<std::int64_t>(item.tile) * kTileRows, image_.data() + item.weights);
      finish_item(item, layer);
      if (stage.rest > 0 || staged + bytes > grid_.shared_bytes) {
        stage.rest += bytes;
        continue;
      }
      item.shared = static_cast<std::int32_t>(staged);
      stage.bytes += static_cast<std::int32_t>(bytes);
      staged += bytes;
    }
    return stage;
  }

  static void finish_item(Item& item, const Layer& layer) {
    for (int i = 0; i < kTileRows; ++i) {
      const auto row = static_cast<std::size_t>(item.tile * kTileRows + i);
      if (row < layer.bias.size()) item.bias[i] = layer.bias[row];
      if (row < layer.scale.size()) item.scale[i] = layer.scale[row];
    }
  }

  const std::vector<Network>& networks_;
  const Grid& grid_;
  const Processing& processing_;
  const StreamPlan plan_;
  std::vector<std::vector<Layer>> layers_;  // by network, by phase
  std::vector<std::byte> image_;
  Image header_{};
  std::uint64_t cycle_ = 1;
  Store input_{};
  std::vector<std::vector<Store>> stores_;  // by network, by level
  std::vector<std::int64_t> middles_;       // by network
  std::vector<Product> products_;           // by phase, by network
};

}  // namespace

std::vector<std::byte> build_image(const cpu::SafetensorsFile& file,
                                   const std::vector<Network>& networks, Precision precision,
                                   std::int64_t lag, const Grid& grid,
                                   const Processing& processing) {
  if (networks.empty()) throw std::invalid_argument("a stream runs at least one network");
  constexpr int kMostBlocks = 4096;
  constexpr std::int64_t kMostShared = 1 << 20;
  if (grid.blocks < 1 || grid.blocks > kMostBlocks)
    throw std::invalid_argument("a grid has 1 to " + std::to_string(kMostBlocks) +
                                " blocks, not " + std::to_string(grid.blocks));
  if (grid.shared_bytes < 0 || grid.shared_bytes > kMostShared || grid.tensor_columns < 0 ||
      grid.cache_bytes < 0)
    throw std::invalid_argument("a grid's shared memory must be 0 to " +
                                std::to_string(kMostShared) +
                                " bytes, its cache and its columns for tensor cores not negative");
  for (const Network& network : networks) {
    network.spec.validate();
    const ModelSpec &one = networks[0].spec, &other = network.spec;
    if (one.filter_widths != other.filter_widths || one.causal != other.causal ||
        one.joints_in != other.joints_in || one.features != other.features)
      throw std::invalid_argument("the networks of a stream must read the same frames; \"" +
                                  network.name + "\" differs from \"" + networks[0].name + '"');
  }
  check_processing(processing, networks);
  return Builder(file, networks, precision, lag, grid, processing).run();
}

std::vector<std::byte> build_frame(const Image& image, const std::vector<Row>& rows,
                                   const float* keypoints, const std::vector<View>& views) {
  const auto n = static_cast<std::int64_t>(rows.size());
  const std::size_t expected = image.frame_view_bytes > 0 ? rows.size() : 0;
  if (views.size() != expected)
    throw std::invalid_argument("a frame of " + std::to_string(rows.size()) + " rows has " +
                                std::to_string(views.size()) + " views; expected " +
                                std::to_string(expected));
  std::vector<std::byte> frame(static_cast<std::size_t>(frame_bytes(image, n)));
  write_frame(image, rows.data(), n, keypoints, views.empty() ? nullptr : views.data(),
              frame.data());
  return frame;
}

}  // namespace vp3d::cuda
