// Windows and sequences by the CUDA kernels on a simulated grid, beside the definition of the
// network and the native engine.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "comparison.hpp"
#include "reference_network.hpp"
#include "simulated_clip.hpp"
#include "vp3d/engine.hpp"

namespace vp3d::test {

struct ClipCase {
  std::vector<Network> networks;
  Precision precision = Precision::fp16;
  bool windows = false;
  std::int64_t batch = 1, frames = 0;  // frames of a sequence
  cuda::Device device;
  ClipOptions options;
};

inline std::string name_of(const ClipCase& c) {
  const ModelSpec& spec = c.networks[0].spec;
  std::string text = c.windows ? "windows" : "sequence of " + std::to_string(c.frames);
  text += ", batch " + std::to_string(c.batch) + ", widths";
  for (const std::int64_t width : spec.filter_widths) text += " " + std::to_string(width);
  return text + (spec.causal ? " causal" : "") + ", channels " + std::to_string(spec.channels) +
         ", networks " + std::to_string(c.networks.size()) + ", precision " +
         std::to_string(static_cast<int>(c.precision)) + ", shape " +
         (c.device.shape ? std::to_string(static_cast<int>(*c.device.shape)) : "any") +
         ", shared " + std::to_string(c.device.shared_bytes) + ", seed " +
         std::to_string(c.options.seed);
}

// What the runtime does: memory, and the launches in their order. Workspace and answers begin as
// rubbish that is NaN.
inline std::vector<Floats> run_clip(const cuda::ClipWeights& weights, const cuda::ClipPlan& plan,
                                    const std::vector<std::byte>& input,
                                    const ClipOptions& options) {
  std::vector<Words> workspace(static_cast<std::size_t>(plan.workspace_bytes) / sizeof(Words),
                               Words{{~0U, ~0U, ~0U, ~0U}});
  Floats answers(static_cast<std::size_t>(plan.answer_bytes) / sizeof(float), NAN);
  CHECK_EQUAL(static_cast<std::int64_t>(input.size()), plan.input_bytes);
  for (const cuda::ClipLaunch& launch : plan.launches)
    run_clip_launch(launch, weights.image().data(), input.data(),
                    reinterpret_cast<std::byte*>(workspace.data()), answers.data(), options);
  std::vector<Floats> each;
  for (std::size_t i = 0; i < plan.answers.size(); ++i) {
    const auto begin = answers.begin() + plan.answers[i] / 4;
    const std::int64_t size = plan.batch * plan.answer_frames *
                              weights.networks()[i].spec.joints_out * 3;
    each.emplace_back(begin, begin + size);
  }
  return each;
}

inline std::vector<std::byte> bytes_of(const Floats& numbers) {
  const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
  return {bytes, bytes + numbers.size() * sizeof(float)};
}

// One case: weights drawn by chance, in a file at `path`.
class ClipBench {
 public:
  ClipBench(const ClipCase& c, const std::string& path)
      : case_(c), path_(path), tensors_(random_tensors(c.networks, c.precision, c.options.seed)) {
    write_file(path, file_of(tensors_));
    const ModelSpec& spec = c.networks[0].spec;
    frames_ = c.windows ? spec.receptive_field() : c.frames;
    Random random(c.options.seed + 5);
    for (std::int64_t i = 0; i < c.batch * frames_ * spec.joints_in * spec.features; ++i)
      input_.push_back(static_cast<float>(random.uniform(-1, 1)));
  }

  std::vector<Floats> answers() const {
    const cuda::ClipWeights weights(cpu::SafetensorsFile(path_), case_.networks, case_.precision);
    const cuda::ClipPlan plan =
        case_.windows ? plan_window(weights, case_.batch, case_.device)
                      : plan_sequence(weights, case_.batch, frames_, case_.device);
    return run_clip(weights, plan, bytes_of(input_), case_.options);
  }

  Comparison with_definition(const std::vector<Floats>& answers) const {
    Comparison comparison;
    const auto item = static_cast<std::ptrdiff_t>(input_.size()) / case_.batch;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::size_t at = 0;
      for (std::int64_t b = 0; b < case_.batch; ++b) {
        const Floats clip(input_.begin() + b * item, input_.begin() + (b + 1) * item);
        for (const double expected : Definition(case_.networks[i], tensors_, true)(clip))
          comparison(answers[i].at(at++), expected);
      }
      CHECK_EQUAL(at, answers[i].size());
    }
    return comparison;
  }

  // The native engine rounds no activations to half precision.
  double worst_to_native(const std::vector<Floats>& answers) const {
    EngineOptions options;
    options.threads = 1;
    Engine engine(path_, case_.networks, case_.precision, options);
    std::vector<Floats> native(answers);
    std::vector<float*> room;
    for (Floats& array : native) room.push_back(array.data());
    if (case_.windows)
      engine.window(input_.data(), case_.batch, room);
    else
      engine.sequence(input_.data(), case_.batch, frames_, room);
    double worst = 0;
    for (std::size_t i = 0; i < answers.size(); ++i)
      for (std::size_t k = 0; k < answers[i].size(); ++k)
        worst = std::fmax(worst, std::fabs(answers[i][k] - native[i][k]));
    return worst;
  }

 private:
  const ClipCase& case_;
  const std::string path_;
  const Tensors tensors_;
  std::int64_t frames_ = 0;
  Floats input_;
};

}  // namespace vp3d::test
