// Live streams by the CUDA kernels on a simulated grid, beside the definition of the network and the
// native engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "comparison.hpp"
#include "image.hpp"
#include "reference_network.hpp"
#include "simulated_clip.hpp"
#include "simulated_grid.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::test {

struct StreamCase {
  std::vector<Network> networks;
  Precision precision = Precision::fp16;
  std::int64_t lag = 0;
  cuda::Grid grid;
  GridOptions options;
  cuda::Device device;  // for many streams, as what follows
  int first_block = -1;
  bool overlaps = false;     // what launches read is there when they have waited for it, no sooner
  bool hides_frames = true;  // the frame, too, whose rubbish would be addresses
  ClipFaults faults;
};

inline std::string name_of(const StreamCase& c) {
  const ModelSpec& spec = c.networks[0].spec;
  std::string text = "widths";
  for (const std::int64_t width : spec.filter_widths) text += " " + std::to_string(width);
  return text + (spec.causal ? " causal" : "") + ", channels " + std::to_string(spec.channels) +
         ", networks " + std::to_string(c.networks.size()) + ", precision " +
         std::to_string(static_cast<int>(c.precision)) + ", lag " + std::to_string(c.lag) +
         ", blocks " + std::to_string(c.grid.blocks) + ", warps " +
         std::to_string(c.options.warps) + ", shared " + std::to_string(c.grid.shared_bytes) +
         ", tensor columns " + std::to_string(c.grid.tensor_columns) + ", splits " +
         (c.device.splits ? std::to_string(*c.device.splits) : "any") + ", seed " +
         std::to_string(c.options.seed);
}

// One cooperative launch, one ordinary launch for each phase, or launches for many streams.
enum class Way { cooperative, phases, wide };

// What the runtime does for the kernels: memory, rows, and a frame for each step.
class DeviceStream {
 public:
  DeviceStream(const StreamCase& c, const std::string& path)
      : case_(c),
        image_(cuda::build_image(cpu::SafetensorsFile(path), c.networks, c.precision, c.lag, c.grid)) {}

  void add_row() {
    rows_.push_back({0, places_used_++});
    // Memory of places is zero in the beginning.
    places_.resize(static_cast<std::size_t>(header().place_bytes) * places_used_);
  }

  void remove_row(std::size_t row) {
    rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(row));
  }

  std::size_t n_rows() const { return rows_.size(); }
  const cuda::Image& header() const { return cuda::header_of(image_); }

  const std::vector<std::byte>& places() const { return places_; }

  std::vector<cuda::ClipLaunch> wide_launches(const cuda::Device& device) const {
    return cuda::plan_wide_step(image_, static_cast<std::int64_t>(rows_.size()), device);
  }

  // Answers (rows, answer_floats).
  Floats step(const Floats& keypoints, Way way) {
    return step(keypoints, way,
                way == Way::wide ? wide_launches(case_.device) : std::vector<cuda::ClipLaunch>{});
  }

  // The same by these launches for many streams.
  Floats step(const Floats& keypoints, Way way, const std::vector<cuda::ClipLaunch>& launches) {
    make_workspace(launches);
    std::vector<std::byte> frame = cuda::build_frame(header(), rows_, keypoints.data());
    Floats answers(rows_.size() * static_cast<std::size_t>(header().answer_floats), NAN);
    const cuda::Arguments arguments{image_.data(), places_.data(), frame.data(), answers.data(),
                                    workspace_.data()};
    if (way == Way::cooperative) launch_step(arguments, case_.options);
    if (way == Way::phases) launch_phases(arguments, case_.options);
    ClipOptions options;
    options.seed = case_.options.seed;
    options.first_block = case_.first_block;
    options.faults = case_.faults;
    if (case_.overlaps) {
      options.written_before = {{places_.data(), places_.size()},
                                {workspace_.data(), workspace_.size()}};
      if (case_.hides_frames) options.written_before.emplace_back(frame.data(), frame.size());
    }
    for (const cuda::ClipLaunch& launch : launches) run_wide_launch(launch, arguments, options);
    for (cuda::Row& row : rows_) row.frames = cuda::next_frame(row.frames, header().frame_cycle);
    return answers;
  }

 private:
  // Rubbish but for the counts, which are zero once.
  void make_workspace(const std::vector<cuda::ClipLaunch>& launches) {
    std::size_t bytes = 0;
    for (const cuda::ClipLaunch& launch : launches)
      bytes = std::max(bytes, static_cast<std::size_t>(launch.workspace_bytes));
    if (bytes <= workspace_.size()) return;
    workspace_.assign(bytes, std::byte{0xFF});
    std::fill_n(workspace_.begin(), cuda::kSplitCountBytes, std::byte{0});
  }

  const StreamCase& case_;
  const std::vector<std::byte> image_;
  std::vector<std::byte> places_, workspace_;
  std::vector<cuda::Row> rows_;
  std::uint32_t places_used_ = 0;
};

// One case, in all ways, frame after frame.
class StreamBench {
 public:
  StreamBench(const StreamCase& c, const std::string& path)
      : case_(c), path_(path), tensors_(random_tensors(c.networks, c.precision, c.options.seed)) {
    write_file(path_, file_of(tensors_));
  }

  // Against the definition; with `peers` the twin must answer the same, and the native engine,
  // which rounds no activations to half precision, nearly the same.
  Comparison run(std::int64_t frames, std::size_t rows, bool peers) {
    DeviceStream one(case_, path_), twin(case_, path_), wide(case_, path_);
    EngineOptions engine_options;
    engine_options.threads = 1;
    Engine engine(path_, case_.networks, case_.precision, engine_options);
    Stream native = engine.open_stream(case_.lag);
    Random random(case_.options.seed + 5);
    std::vector<Floats> seen;
    Comparison comparison, wide_comparison;
    for (std::int64_t t = 0; t < frames; ++t) {
      for (std::size_t i = 0; i < (t == 0 ? rows : t == 3 ? 2U : 0U); ++i) {
        one.add_row();
        twin.add_row();
        wide.add_row();
        native.add_rows(1);
        seen.emplace_back();
      }
      if (t == 5) {  // one row less, the others move up
        one.remove_row(0);
        twin.remove_row(0);
        wide.remove_row(0);
        native.remove_rows({0});
        seen.erase(seen.begin());
      }
      const Floats keypoints = next_keypoints(seen, random);
      const Floats answers = one.step(keypoints, Way::cooperative);
      compare(comparison, seen, answers);
      if (!peers) continue;
      const Floats same = twin.step(keypoints, Way::phases);
      CHECK(std::memcmp(answers.data(), same.data(), answers.size() * sizeof(float)) == 0);
      compare_natively(native, keypoints, answers);
      // Every other step: places that one way has written, another goes on with.
      compare(wide_comparison, seen,
              wide.step(keypoints, t % 2 == 0 ? Way::wide : Way::phases));
    }
    check(!peers || wide_comparison.holds(case_.precision),
          name_of(case_) + ", by launches for many streams: " + wide_comparison.text(), __FILE__,
          __LINE__);
    return comparison;
  }

  // Launches for many streams alone, against the definition.
  Comparison run_wide(std::int64_t frames, std::size_t rows) {
    DeviceStream wide(case_, path_);
    for (std::size_t i = 0; i < rows; ++i) wide.add_row();
    Random random(case_.options.seed + 5);
    std::vector<Floats> seen(rows);
    Comparison comparison;
    for (std::int64_t t = 0; t < frames; ++t) {
      const Floats keypoints = next_keypoints(seen, random);
      compare(comparison, seen, wide.step(keypoints, Way::wide));
    }
    return comparison;
  }

  Floats next_keypoints(std::vector<Floats>& seen, Random& random) const {
    const ModelSpec& spec = case_.networks[0].spec;
    Floats keypoints;
    for (Floats& row : seen) {
      for (std::int64_t i = 0; i < spec.joints_in * spec.features; ++i) {
        keypoints.push_back(static_cast<float>(random.uniform(-1, 1)));
        row.push_back(keypoints.back());
      }
    }
    return keypoints;
  }

 private:
  void compare(Comparison& comparison, const std::vector<Floats>& seen,
               const Floats& answers) const {
    const ModelSpec& spec = case_.networks[0].spec;
    std::size_t at = 0;
    for (const Floats& row : seen) {
      const auto frames = static_cast<std::int64_t>(row.size()) / (spec.joints_in * spec.features);
      const Floats window = live_window(spec, row, case_.lag);
      for (const Network& network : case_.networks) {
        // The first answers are for frames before the stream's first.
        const auto size = static_cast<std::size_t>(network.spec.joints_out * 3);
        if (frames > case_.lag) {
          const std::vector<double> expected = Definition(network, tensors_, true)(window);
          for (std::size_t i = 0; i < size; ++i) comparison(answers[at + i], expected[i]);
        }
        at += size;
      }
    }
  }

  void compare_natively(Stream& native, const Floats& keypoints, const Floats& answers) const {
    std::vector<Floats> found;
    std::vector<float*> room;
    for (const Network& network : case_.networks)
      found.emplace_back(static_cast<std::size_t>(native.n_rows() * network.spec.joints_out * 3));
    for (Floats& array : found) room.push_back(array.data());
    native.step(keypoints.data(), room);
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t row = 0; row < static_cast<std::size_t>(native.n_rows()); ++row)
      for (std::size_t i = 0; i < found.size(); ++i) {
        const auto size = static_cast<std::size_t>(case_.networks[i].spec.joints_out * 3);
        for (std::size_t k = 0; k < size; ++k, ++at)
          worst = std::max<double>(worst, std::fabs(answers[at] - found[i][row * size + k]));
      }
    check(worst < native_limit(case_.precision),
          name_of(case_) + ": differs from the native engine by " + std::to_string(worst), __FILE__,
          __LINE__);
  }

  const StreamCase& case_;
  const std::string path_;
  const Tensors tensors_;
};

}  // namespace vp3d::test
