// The index arithmetic of the CUDA kernels: packing, number formats, counters.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "check.hpp"
#include "program.hpp"
#include "reference_network.hpp"

namespace {

using namespace vp3d::cuda;
using vp3d::test::from_half_bits;
using vp3d::test::half_bits;

// Every weight comes to bytes of its own, where the lane that needs it looks, and the rest is zero.
void check_packing(Number type, std::int64_t rows, std::int64_t taps, std::int64_t inputs) {
  const auto size = static_cast<std::size_t>(size_of(type));
  std::vector<std::byte> matrix(static_cast<std::size_t>(rows * taps * inputs) * size);
  for (std::size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<std::byte>(1 + i % 251);
  const std::int64_t tap_steps = steps_of(inputs, type);
  const std::int64_t tile_bytes = taps * tap_steps * kFragmentBytes;
  std::size_t filled = 0;
  for (std::int64_t first = 0; first < rows; first += kTileRows) {
    std::vector<std::byte> tile(static_cast<std::size_t>(tile_bytes));
    pack_tile(matrix.data(), rows, taps, inputs, type, first, tile.data());
    for (const std::byte byte : tile) filled += byte != std::byte{} ? 1 : 0;
    for (std::int64_t row = first; row < rows && row < first + kTileRows; ++row)
      for (std::int64_t tap = 0; tap < taps; ++tap)
        for (std::int64_t k = 0; k < inputs; ++k) {
          // As a lane finds it: the step, then its 16 bytes of the step.
          const std::int64_t byte = k * size_of(type), step = tap * tap_steps + byte / 64;
          const auto lane = static_cast<int>(4 * (row - first) + byte % 64 / 16);
          const auto* found = &tile[static_cast<std::size_t>(step * 512 + lane * 16 + byte % 16)];
          const auto at = static_cast<std::size_t>((row * taps + tap) * inputs + k) * size;
          CHECK(std::memcmp(found, &matrix[at], size) == 0);
        }
  }
  CHECK_EQUAL(filled, matrix.size());
}

// The accumulators of a warp's lanes are all elements of a tile's 16 columns, each once.
void check_accumulators() {
  std::set<int> seen;
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < 4; ++i) {
      CHECK(mma_column(lane, i) < 16 && mma_row(lane, i) < kTileRows);
      seen.insert(mma_column(lane, i) * kTileRows + mma_row(lane, i));
    }
  CHECK_EQUAL(seen.size(), 16U * kTileRows);
}

void check_halves() {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if ((bits & 0x7FFF) > 0x7C00) {
      CHECK(std::isnan(value) && std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    CHECK_EQUAL(float_to_half(value), half);
    if ((bits & 0x7C00) != 0 && (bits & 0x7C00) != 0x7C00) CHECK_EQUAL(value, from_half_bits(half));
  }
  CHECK_EQUAL(half_to_float(1), std::ldexp(1.0F, -24));
  CHECK(std::isinf(half_to_float(0x7C00)));
  // Halfway between neighbours: the even one, also from the largest to infinity.
  CHECK_EQUAL(float_to_half(1.0F + 0x1p-11F), 0x3C00);
  CHECK_EQUAL(float_to_half(1.0F + 3 * 0x1p-11F), 0x3C02);
  CHECK_EQUAL(float_to_half(65519.99F), 0x7BFF);
  CHECK_EQUAL(float_to_half(65520.0F), 0x7C00);
  CHECK_EQUAL(float_to_half(-0x1p-25F), 0x8000);
  CHECK_EQUAL(float_to_half(0x1.8p-24F), 2);
  vp3d::test::Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<float>(std::ldexp(random.uniform(-2, 2), i % 26 - 12));
    if (std::fabs(value) > 0x1p-13F) CHECK_EQUAL(float_to_half(value), half_bits(value));
  }
}

void check_bytes() {
  CHECK_EQUAL(quantise(0.5F, 1), 0);
  CHECK_EQUAL(quantise(1.5F, 1), 2);
  CHECK_EQUAL(quantise(2.5F, 1), 2);
  CHECK_EQUAL(quantise(126.5F, 1), 126);
  CHECK_EQUAL(quantise(127.4F, 1), 127);
  CHECK_EQUAL(quantise(1e30F, 0.1F), 127);
  CHECK_EQUAL(quantise(std::numeric_limits<float>::infinity(), 1), 127);
  CHECK_EQUAL(quantise(0, 1), 0);
  Words a{}, b{};
  a.word[1] = 0x81007F02;  // -127, 0, 127, 2
  b.word[1] = 0x7F7F7F03;
  CHECK_EQUAL(Arithmetic<Number::i8>::dot(a, b, 5), 5 - 127 * 127 + 127 * 127 + 6);
}

// A counter that starts over keeps its place in every ring, and never looks young again.
void check_counters() {
  constexpr std::uint32_t cycle = 3 * 7 * 2;
  std::uint32_t frames = 0;
  for (std::uint32_t t = 0; t < 20 * cycle; ++t, frames = next_frame(frames, cycle)) {
    CHECK(frames % 3 == t % 3 && frames % 7 == t % 7 && frames % 2 == t % 2);
    CHECK(frames < 2 * cycle && (frames == t || frames >= cycle));
  }
  CHECK_EQUAL(next_frame(41, 0), 42U);
}

// What is older than a stream is its first frame.
void check_rings() {
  Store store{};
  store.ring = 1000, store.others = 500, store.bytes = 64, store.slots = 4;
  store.narrow_ring = 2000, store.narrow_others = 1500, store.narrow_bytes = 32;
  store.narrow_slots = 3;
  CHECK_EQUAL(own_offset(store, 0, 6, false), 1000 + 2 * 64);
  CHECK_EQUAL(own_offset(store, 2, 6, false), 500 + 64);
  CHECK_EQUAL(own_offset(store, 1, 6, true), 1500);
  CHECK_EQUAL(below_offset(store, {0, 3}, 6, false), 1000 + 3 * 64);
  CHECK_EQUAL(below_offset(store, {0, 2}, 5, true), 2000);
  CHECK_EQUAL(below_offset(store, {0, 3}, 2, false), 1000);
  CHECK_EQUAL(below_offset(store, {2, 0}, 2, false), 500 + 64);
}

}  // namespace

int main() {
  for (const Number type : {Number::f32, Number::f16, Number::i8}) {
    check_packing(type, 8, 1, 64);
    check_packing(type, 19, 3, 37);
    check_packing(type, 1, 5, 1);
  }
  check_accumulators();
  check_halves();
  check_bytes();
  check_counters();
  check_rings();
  return vp3d::test::result();
}
