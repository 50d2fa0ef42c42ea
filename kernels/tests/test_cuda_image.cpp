// Images of weights for the CUDA kernels: what they hold, and what is refused.
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"
#include "image.hpp"
#include "reference_network.hpp"
#include "wide_plan.hpp"

namespace {

using namespace vp3d::test;
using vp3d::ModelSpec;
using vp3d::Network;
using vp3d::Precision;
using vp3d::WeightsError;
using vp3d::cpu::SafetensorsFile;
using vp3d::cuda::build_frame;
using vp3d::cuda::build_image;
using vp3d::cuda::Duties;
using vp3d::cuda::Grid;
using vp3d::cuda::header_of;
using vp3d::cuda::Image;
using vp3d::cuda::Item;
using vp3d::cuda::Product;
using vp3d::cuda::Stage;

const std::string path = "test_cuda_image.safetensors";
const std::vector<Network> networks{{"pose", {{3, 3, 3}, 48, 17, 2, 17, false}},
                                    {"trajectory", {{3, 3, 3}, 20, 17, 2, 1, false}}};

void write_weights(Tensors tensors) { write_file(path, file_of(tensors)); }

template <class Entry>
const Entry* table(const std::vector<std::byte>& image, std::int64_t offset) {
  return reinterpret_cast<const Entry*>(image.data() + offset);
}

// Every tile of every product belongs to one block, its weights lie in the image, and what is
// staged fits and does not overlap.
void check_items(const Grid& grid) {
  const std::vector<std::byte> image =
      build_image(SafetensorsFile(path), networks, Precision::fp16, 4, grid);
  const Image& header = header_of(image);
  CHECK_EQUAL(header.bytes, static_cast<std::int64_t>(image.size()));
  CHECK_EQUAL(header.phases, 6);
  CHECK_EQUAL(header.blocks, grid.blocks);
  CHECK_EQUAL(header.answer_floats, (17 + 1) * 3);
  CHECK(header.staged_bytes <= grid.shared_bytes);
  const auto* products = table<Product>(image, header.product_table);
  std::vector<std::vector<int>> seen;
  for (int i = 0; i < header.products; ++i)
    seen.emplace_back(static_cast<std::size_t>((products[i].rows + 7) / 8));
  const vp3d::cuda::Launch launch({image.data(), nullptr, nullptr, nullptr});
  CHECK_EQUAL(header.duties_near, header.duty_bytes <= grid.shared_bytes / 4 ? 1 : 0);
  for (int block = 0; block < header.blocks; ++block) {
    const Duties duties = launch.duties(block);
    CHECK(duties.at + header.duty_bytes <= image.data() + image.size());
    CHECK_EQUAL(duties.first_item(0), 0);
    CHECK(Duties::items_at(header.phases) + duties.first_item(header.phases) *
              static_cast<std::int64_t>(sizeof(Item)) <= header.duty_bytes);
    std::int64_t staged = header.duties_near != 0 ? header.duty_bytes : 0, fetched = 0;
    bool all_fetched = true;
    for (int phase = 0; phase < header.phases; ++phase) {
      const Stage& stage = duties.stage(phase);
      CHECK_EQUAL(stage.to, staged);
      staged += stage.bytes;
      std::int64_t here = 0;
      for (int i = duties.first_item(phase); i < duties.first_item(phase + 1); ++i) {
        const Item& item = duties.item(i);
        const Product& product = products[item.product];
        ++seen[static_cast<std::size_t>(item.product)][static_cast<std::size_t>(item.tile)];
        CHECK_EQUAL(item.product / 2, phase);
        CHECK_EQUAL(item.weights, stage.from + here);
        CHECK_EQUAL(item.weights, table<std::int64_t>(image, product.tile_table)[item.tile]);
        CHECK_EQUAL(item.shared, here < stage.bytes ? stage.to + here : -1);
        for (int row = 0; row < 8; ++row) {
          const int output = item.tile * 8 + row;
          CHECK_EQUAL(item.bias[row],
                      output < product.rows ? table<float>(image, product.bias)[output] : 0.0F);
        }
        here += std::int64_t{512} * product.taps * product.tap_steps;
      }
      CHECK_EQUAL(here, stage.bytes + stage.rest);
      // What is needed first is fetched first.
      CHECK(stage.fetched >= 0 && stage.fetched <= stage.rest);
      CHECK(all_fetched || stage.fetched == 0);
      all_fetched = all_fetched && stage.fetched == stage.rest;
      fetched += stage.fetched;
      CHECK(stage.from % 16 == 0 && stage.from + here <= header.bytes);
    }
    CHECK(staged <= header.staged_bytes);
    CHECK(all_fetched ? fetched <= grid.cache_bytes / 2 / header.blocks
                      : fetched == grid.cache_bytes / 2 / header.blocks);
  }
  for (const std::vector<int>& tiles : seen)
    for (const int count : tiles) CHECK_EQUAL(count, 1);
}

void check_frame() {
  const std::vector<std::byte> image =
      build_image(SafetensorsFile(path), networks, Precision::fp16, 0, {});
  const Image& header = header_of(image);
  const std::vector<float> keypoints(2 * 34, 0.5F);
  const std::vector<std::byte> frame =
      build_frame(header, {{7, 1}, {9, 0}}, keypoints.data());
  CHECK_EQUAL(frame.size(), 64U + 64U + 2U * 192U);
  const vp3d::cuda::Launch launch({image.data(), nullptr, frame.data(), nullptr});
  CHECK_EQUAL(launch.rows(), 2);
  CHECK_EQUAL(launch.row(1).frames, 9U);
  const auto* input = reinterpret_cast<const float*>(launch.input(1));
  CHECK(input[0] == 0.5F && input[33] == 0.5F && input[34] == 0.0F && input[47] == 0.0F);
}

void check_refusals() {
  const auto build = [](const std::vector<Network>& of, Precision precision, std::int64_t lag,
                        const Grid& grid) {
    build_image(SafetensorsFile(path), of, precision, lag, grid);
  };
  CHECK_THROWS(std::invalid_argument, build({}, Precision::fp16, 0, {}), "at least one network");
  CHECK_THROWS(std::invalid_argument, build(networks, Precision::fp16, 14, {}), "lag 14");
  CHECK_THROWS(std::invalid_argument, build(networks, Precision::fp16, 0, {0, 0, 0}), "not 0");
  CHECK_THROWS(std::invalid_argument, build(networks, Precision::fp16, 0, {1, -1, 0}), "shared");
  CHECK_THROWS(std::invalid_argument, build(networks, Precision::fp16, 0, {1, 0, -1}), "columns");
  CHECK_THROWS(WeightsError, build(networks, Precision::int8, 0, {}), "another type");
  CHECK_THROWS(WeightsError, build({{"other", networks[0].spec}}, Precision::fp16, 0, {}),
               "holds no tensor \"other.");
  std::vector<Network> other = networks;
  other[1].spec.causal = true;
  CHECK_THROWS(std::invalid_argument, build(other, Precision::fp16, 0, {}), "\"trajectory\"");
  other = networks;
  other[0].spec.channels = 49;
  CHECK_THROWS(WeightsError, build(other, Precision::fp16, 0, {}), path);
}

// Launches for many streams cover every tile of every phase, in the order of the phases.
void check_wide_plan() {
  const std::vector<std::byte> image =
      build_image(SafetensorsFile(path), networks, Precision::fp16, 4, {});
  vp3d::cuda::Device device;
  device.multiprocessors = 132;
  const auto* products = table<Product>(image, header_of(image).product_table);
  CHECK_EQUAL(vp3d::cuda::columns_of(image, 50), 50 * products[0].columns);
  std::vector<int> seen;
  for (const vp3d::cuda::ClipLaunch& launch : plan_wide_step(image, 50, device)) {
    vp3d::cuda::WideArguments arguments;
    CHECK_EQUAL(launch.arguments.size(), sizeof arguments);
    std::memcpy(&arguments, launch.arguments.data(), sizeof arguments);
    CHECK_EQUAL(arguments.blocks[0] + arguments.blocks[1], launch.blocks);
    CHECK_EQUAL(arguments.keeps_inputs, seen.empty() ? 1 : 0);
    CHECK(launch.shared_bytes > 0 && launch.shared_bytes <= device.shared_bytes);
    for (int i = 0; i < 2; ++i)
      if (arguments.blocks[i] > 0) seen.push_back(arguments.products[i]);
  }
  for (int i = 0; i < header_of(image).products; ++i)
    CHECK_EQUAL(seen.at(static_cast<std::size_t>(i)), i);
  CHECK_THROWS(std::invalid_argument, plan_wide_step(image, 0, device), "not 0");
  CHECK_THROWS(std::invalid_argument, plan_wide_step(image, 1 << 20, device), "65536 rows");
  device.shared_bytes = 1000;
  CHECK_THROWS(std::invalid_argument, plan_wide_step(image, 1, device), "1000 bytes");
}

void check_values() {
  const auto build = [] {
    build_image(SafetensorsFile(path), networks, Precision::int8, 0, Grid{});
  };
  const Tensors whole = random_tensors(networks, Precision::int8, 1);
  Tensors tensors = whole;
  Tensor& scale = tensors["pose.level1.mix.input_scale"];
  scale.bytes.assign(4, '\0');
  write_weights(tensors);
  CHECK_THROWS(WeightsError, build(), "mix.input_scale\" must be positive");
  tensors = whole;
  tensors["pose.level2.conv.bias"].bytes.replace(0, 4, "\xFF\xFF\xFF\x7F", 4);
  write_weights(tensors);
  CHECK_THROWS(WeightsError, build(), "not a finite number");
}

}  // namespace

int main() {
  write_weights(random_tensors(networks, Precision::fp16, 1));
  for (const Grid& grid : {Grid{1, 0, 0}, Grid{3, 9'000, 0}, Grid{20, 227'000, 8},
                           Grid{2, 0, 0, 50'000}, Grid{3, 9'000, 0, 90'000}})
    check_items(grid);
  check_frame();
  check_refusals();
  check_wide_plan();
  check_values();
  std::remove(path.c_str());
  return vp3d::test::result();
}
