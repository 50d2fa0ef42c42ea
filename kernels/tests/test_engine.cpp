// Every form of the engine against the definition of its network, for every instruction set,
// precision and number of threads.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"
#include "reference_network.hpp"
#include "vp3d/engine.hpp"

namespace {

using namespace vp3d::test;
using vp3d::Engine;
using vp3d::EngineOptions;
using vp3d::ModelSpec;
using vp3d::Network;
using vp3d::Precision;
using vp3d::Stream;

const std::string path = "test_engine.safetensors";

// Networks on the same frames, with and without a second one, of widths that fill no register.
const std::vector<std::vector<Network>> cases{
    {{"pose", {{3, 3, 3}, 24, 17, 2, 17, false}}, {"trajectory", {{3, 3, 3}, 9, 17, 2, 1, false}}},
    {{"pose", {{5, 3}, 17, 3, 3, 2, true}}},
    {{"pose", {{3, 1, 5}, 40, 5, 2, 6, false}}},
    {{"pose", {{1}, 5, 17, 2, 17, false}}},
};

Floats random_keypoints(const ModelSpec& spec, std::int64_t frames, Random& random) {
  Floats keypoints(static_cast<std::size_t>(frames * spec.joints_in * spec.features));
  for (float& value : keypoints) value = static_cast<float>(random.uniform(-1, 1));
  return keypoints;
}

// In 8 bits, float32 sums may put a value that lies halfway on the other side than float64 does:
// rarely, and an answer then moves by one step of a few layers.
struct Comparison {
  std::size_t values = 0, off = 0;
  double worst = 0;

  void operator()(const float* found, const double* expected, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      const double error = std::fabs(found[i] - expected[i]);
      worst = std::isnan(error) ? HUGE_VAL : std::max(worst, error);
      off += error <= 1e-5 ? 0 : 1;
      ++values;
    }
  }

  bool holds(Precision precision) const {
    if (values == 0) return false;
    return precision == Precision::int8 ? worst < 0.2 && off * 10 < values : off == 0;
  }
};

// One engine, its weights, and arrays for its answers.
class Bench {
 public:
  Bench(std::vector<Network> networks, Precision precision, EngineOptions options)
      : networks_(std::move(networks)),
        precision_(precision),
        tensors_(random_tensors(networks_, precision, 1)),
        engine_(opened(options)) {}

  const ModelSpec& spec() const { return networks_[0].spec; }
  Engine& engine() { return engine_; }
  Precision precision() const { return precision_; }

  // Room for `count` answers of each network.
  std::vector<float*> room(std::int64_t count) {
    answers_.clear();
    for (const Network& network : networks_)
      answers_.emplace_back(static_cast<std::size_t>(count * network.spec.joints_out * 3), NAN);
    std::vector<float*> pointers;
    for (Floats& answers : answers_) pointers.push_back(answers.data());
    return pointers;
  }

  // Compare the answers from number `at` on with those of the definition for one clip.
  void compare(Comparison& comparison, std::int64_t at, const Floats& clip) const {
    for (std::size_t i = 0; i < networks_.size(); ++i) {
      const std::vector<double> expected = Definition(networks_[i], tensors_)(clip);
      comparison(&answers_[i][static_cast<std::size_t>(at * networks_[i].spec.joints_out * 3)],
                 expected.data(), expected.size());
    }
  }

  void check(const Comparison& comparison, const char* form) const {
    vp3d::test::check(comparison.holds(precision_),
                      std::string(form) + " of " + engine_.isa() + ", precision " +
                          std::to_string(static_cast<int>(precision_)) + ", threads " +
                          std::to_string(engine_.threads()) + ": " +
                          std::to_string(comparison.off) + " of " +
                          std::to_string(comparison.values) + " off, worst " +
                          std::to_string(comparison.worst),
                      __FILE__, __LINE__);
  }

 private:
  Engine opened(const EngineOptions& options) const {
    write_file(path, file_of(tensors_));
    return Engine(path, networks_, precision_, options);
  }

  std::vector<Network> networks_;
  Precision precision_;
  Tensors tensors_;
  Engine engine_;
  std::vector<Floats> answers_;
};

void check_clips(Bench& bench) {
  const ModelSpec& spec = bench.spec();
  const std::int64_t frame = spec.joints_in * spec.features;
  for (const std::int64_t extra : {0, 7}) {
    Random random(2);
    const std::int64_t batch = 3, frames = spec.receptive_field() + extra;
    const Floats keypoints = random_keypoints(spec, batch * frames, random);
    const std::vector<float*> room = bench.room(batch * (extra + 1));
    if (extra == 0) bench.engine().window(keypoints.data(), batch, room);
    else bench.engine().sequence(keypoints.data(), batch, frames, room);
    Comparison comparison;
    for (std::int64_t clip = 0; clip < batch; ++clip) {
      const auto at = keypoints.begin() + clip * frames * frame;
      bench.compare(comparison, clip * (extra + 1), {at, at + frames * frame});
    }
    bench.check(comparison, extra == 0 ? "window" : "sequence");
  }
}

// More columns than are packed at a time: of few inputs, and of so many that fewer fit.
void check_many_columns(const std::string& isa, Precision precision, int threads) {
  const std::vector<Network> few{{"pose", {{1, 3}, 40, 4, 2, 3, false}},
                                 {"trajectory", {{1, 3}, 24, 4, 2, 1, false}}};
  const std::vector<Network> many{{"pose", {{1, 385}, 17, 4, 2, 3, false}}};
  EngineOptions options;
  options.threads = threads;
  options.isa = isa;
  for (const std::vector<Network>& networks : {few, many}) {
    Bench bench(networks, precision, options);
    Random random(4);
    constexpr std::int64_t count = 310;
    const std::int64_t frames = bench.spec().receptive_field() + count - 1;
    const Floats clip = random_keypoints(bench.spec(), frames, random);
    bench.engine().sequence(clip.data(), 1, frames, bench.room(count));
    Comparison comparison;
    bench.compare(comparison, 0, clip);
    bench.check(comparison, "long sequence");
  }
}

// Rows come and go; each answers as if it were alone.
void check_stream(Bench& bench, std::int64_t lag) {
  const ModelSpec& spec = bench.spec();
  Random random(3);
  Stream stream = bench.engine().open_stream(lag);
  std::vector<Floats> seen;
  Comparison comparison;
  const std::int64_t frames = 2 * spec.receptive_field() + 3;
  for (std::int64_t t = 0; t < frames; ++t) {
    if (t == 0 || t == 4 || t == 9) {
      stream.add_rows(t == 4 ? 3 : 1);
      seen.resize(static_cast<std::size_t>(stream.n_rows()));
    }
    if (t == 7) {
      stream.remove_rows({2, 0});
      seen.erase(seen.begin() + 2);
      seen.erase(seen.begin());
    }
    const Floats keypoints = random_keypoints(spec, stream.n_rows(), random);
    const std::vector<float*> room = bench.room(stream.n_rows());
    stream.step(keypoints.data(), room);
    const std::int64_t frame = spec.joints_in * spec.features;
    for (std::size_t row = 0; row < seen.size(); ++row) {
      const auto at = keypoints.begin() + static_cast<std::int64_t>(row) * frame;
      seen[row].insert(seen[row].end(), at, at + frame);
      if (static_cast<std::int64_t>(seen[row].size()) / frame > lag)
        bench.compare(comparison, static_cast<std::int64_t>(row),
                      live_window(spec, seen[row], lag));
    }
  }
  bench.check(comparison, ("stream at lag " + std::to_string(lag)).c_str());
}

// One stream, of which most frames are prepared for, and one of the same frames without.
void check_prepared(Bench& bench, std::int64_t lag) {
  const ModelSpec& spec = bench.spec();
  Random random(5);
  Stream stream = bench.engine().open_stream(lag), plain = bench.engine().open_stream(lag);
  stream.add_rows(1);
  plain.add_rows(1);
  stream.prepare();  // nothing is known yet
  Floats seen, answers, without;
  Comparison comparison;
  const auto keep = [&](Floats& all, const std::vector<float*>& room) {
    all.insert(all.end(), room[0], room[0] + spec.joints_out * 3);
  };
  for (std::int64_t t = 0; t < 2 * spec.receptive_field() + 5; ++t) {
    const Floats keypoints = random_keypoints(spec, 1, random);
    seen.insert(seen.end(), keypoints.begin(), keypoints.end());
    std::vector<float*> room = bench.room(1);
    plain.step(keypoints.data(), room);
    keep(without, room);
    room = bench.room(1);
    stream.step(keypoints.data(), room);
    keep(answers, room);
    if (t >= lag) bench.compare(comparison, 0, live_window(spec, seen, lag));
    for (std::int64_t calls = t % 4; calls > 0; --calls) stream.prepare();
  }
  bench.check(comparison, ("prepared stream at lag " + std::to_string(lag)).c_str());
  // A level's only column is summed in the same order, whether at once or in two calls.
  if (lag == spec.lookahead()) CHECK(answers == without);
}

// Rows that come and go between `prepare` and the next frame.
void check_prepared_rows(Bench& bench) {
  const ModelSpec& spec = bench.spec();
  Random random(6);
  Stream stream = bench.engine().open_stream(spec.lookahead());
  std::vector<Stream> alone;
  for (int t = 0; t < 12; ++t) {
    if (t == 0 || t == 3 || t == 8) {
      stream.add_rows(1);
      alone.push_back(bench.engine().open_stream(spec.lookahead()));
      alone.back().add_rows(1);
    }
    if (t == 6) {
      stream.remove_rows({0});
      alone.erase(alone.begin());
    }
    const Floats keypoints = random_keypoints(spec, stream.n_rows(), random);
    const auto answers = static_cast<std::size_t>(spec.joints_out * 3);
    const auto frame = static_cast<std::size_t>(spec.joints_in * spec.features);
    std::vector<float*> room = bench.room(stream.n_rows());
    stream.step(keypoints.data(), room);
    const Floats together(room[0], room[0] + alone.size() * answers);
    for (std::size_t row = 0; row < alone.size(); ++row) {
      room = bench.room(1);
      alone[row].step(keypoints.data() + row * frame, room);
      for (std::size_t i = 0; i < answers; ++i)
        CHECK(std::fabs(together[row * answers + i] - room[0][i]) <= 1e-5);
    }
    stream.prepare();
  }
}

void check_everything() {
  int turn = 0;
  for (const std::string& isa : vp3d::available_isas()) {
    for (const Precision precision : {Precision::fp32, Precision::fp16, Precision::int8}) {
      for (const std::vector<Network>& networks : cases) {
        EngineOptions options;
        options.threads = 1 + turn++ % 3;
        options.isa = isa;
        Bench bench(networks, precision, options);
        CHECK_EQUAL(bench.engine().isa(), isa);
        CHECK_EQUAL(bench.engine().threads(), options.threads);
        check_clips(bench);
        const std::int64_t full = bench.spec().lookahead();
        for (const std::int64_t lag : {std::int64_t{0}, full / 3, full}) {
          check_stream(bench, lag);
          check_prepared(bench, lag);
        }
        if (precision == Precision::fp32) check_prepared_rows(bench);
      }
      check_many_columns(isa, precision, 1 + turn % 3);
    }
  }
}

void check_refusals() {
  Bench bench(cases[0], Precision::fp32, {});
  Engine& engine = bench.engine();
  CHECK_THROWS(std::invalid_argument, engine.open_stream(14), "lag 14");
  CHECK_THROWS(std::invalid_argument, engine.open_stream(-1), "lag -1");
  const Floats keypoints(26 * 34);
  CHECK_THROWS(std::invalid_argument, engine.sequence(keypoints.data(), 1, 26, bench.room(1)),
               "26");
  Stream stream = engine.open_stream(0);
  stream.add_rows(2);
  CHECK_THROWS(std::invalid_argument, stream.add_rows(-1), "-1");
  CHECK_THROWS(std::out_of_range, stream.remove_rows({0, 2}), "2");
  CHECK_EQUAL(stream.n_rows(), 2);
  std::vector<float*> too_many = bench.room(2);
  too_many.push_back(too_many.front());
  const Floats frames(27 * 34);
  CHECK_THROWS(std::invalid_argument, stream.step(frames.data(), {}), "not 0");
  CHECK_THROWS(std::invalid_argument, stream.step(frames.data(), too_many), "arrays of answers");
  CHECK_THROWS(std::invalid_argument, engine.window(frames.data(), 1, {}), "arrays of answers");
  CHECK_THROWS(std::invalid_argument, engine.window(frames.data(), -1, bench.room(1)), "-1");
  CHECK_THROWS(std::invalid_argument, engine.sequence(frames.data(), 1, 27, too_many), "answers");
  CHECK_THROWS(std::invalid_argument, engine.sequence(frames.data(), -2, 27, bench.room(1)), "-2");

  const auto open = [](std::vector<Network> networks, Precision precision, EngineOptions options) {
    Engine(path, std::move(networks), precision, std::move(options));
  };
  EngineOptions options;
  options.isa = "abacus";
  CHECK_THROWS(std::invalid_argument, open(cases[0], Precision::fp32, options), "abacus");
  options = {};
  options.threads = -1;
  CHECK_THROWS(std::invalid_argument, open(cases[0], Precision::fp32, options), "-1");
  CHECK_THROWS(std::invalid_argument, open({}, Precision::fp32, {}), "at least one network");
  CHECK_THROWS(std::invalid_argument, open({cases[0][0], cases[1][0]}, Precision::fp32, {}), "");
  CHECK_THROWS(vp3d::WeightsError, open(cases[1], Precision::fp32, {}), path);
  CHECK_THROWS(vp3d::WeightsError, open({{"other", cases[0][0].spec}}, Precision::fp32, {}),
               "holds no tensor \"other.");
}

// Weights that are not finite, and 8-bit sums that would not fit 32 bits.
void check_impossible_weights() {
  const std::vector<Network> one{{"pose", {{3, 3}, 20, 17, 2, 17, false}}};
  const auto open = [](const std::vector<Network>& networks, Precision precision) {
    Engine(path, networks, precision, {});
  };
  struct Damage {
    Precision precision;
    const char* name;
    std::string number;
  };
  for (const Damage& damage : {Damage{Precision::fp32, "pose.level1.mix.weight", {"\0\0\xc0\x7f", 4}},
                               Damage{Precision::fp32, "pose.shrink.weight", {"\0\0\x80\xff", 4}},
                               Damage{Precision::fp16, "pose.level1.conv.weight", {"\0\x7c", 2}}}) {
    vp3d::test::Tensors tensors = vp3d::test::random_tensors(one, damage.precision, 1);
    std::string& bytes = tensors.at(damage.name).bytes;
    bytes.replace(bytes.size() - damage.number.size(), damage.number.size(), damage.number);
    vp3d::test::write_file(path, vp3d::test::file_of(tensors));
    CHECK_THROWS(vp3d::WeightsError, open(one, damage.precision), damage.name);
  }
  const std::vector<Network> wide{{"pose", {{1, 8321}, 16, 1, 1, 1, false}}};
  vp3d::test::write_file(path,
                         vp3d::test::file_of(vp3d::test::random_tensors(wide, Precision::int8, 1)));
  CHECK_THROWS(vp3d::WeightsError, open(wide, Precision::int8), "may overflow");
}

// A stream outlives its engine, and an engine can be moved.
void check_lifetimes() {
  Random random(4);
  auto bench = std::make_unique<Bench>(cases[1], Precision::fp32, EngineOptions{});
  Engine moved = std::move(bench->engine());
  Stream stream = moved.open_stream(0);
  { const Engine gone = std::move(moved); }
  stream.add_rows(1);
  Floats pose(6, NAN);
  stream.step(random_keypoints(cases[1][0].spec, 1, random).data(), {pose.data()});
  CHECK(std::isfinite(pose[0]) && std::isfinite(pose[5]));
}

}  // namespace

int main() {
  check_everything();
  check_refusals();
  check_lifetimes();
  check_impossible_weights();
  std::remove(path.c_str());
  return vp3d::test::result();
}
