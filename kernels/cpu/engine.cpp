#include "vp3d/engine.hpp"

#include <stdexcept>
#include <string>

#include "stream.hpp"

namespace vp3d {
namespace {

// Pointers carry no size, but their number is known.
void check_answers(const detail::EngineState& engine, const std::vector<float*>& answers) {
  const std::vector<cpu::PackedNetwork>& networks = engine.weights->networks();
  if (answers.size() != networks.size())
    throw std::invalid_argument("expected " + std::to_string(networks.size()) +
                                " arrays of answers, one for each network, not " +
                                std::to_string(answers.size()));
}

void check_batch(std::int64_t batch) {
  if (batch < 0)
    throw std::invalid_argument("a batch has 0 rows or more, not " + std::to_string(batch));
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const cpu::KernelSet* kernels : cpu::supported_kernels()) names.emplace_back(kernels->name);
  return names;
}

Stream::Stream(std::unique_ptr<detail::StreamState> state) : state_(std::move(state)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

std::int64_t Stream::n_rows() const { return state_->n_rows(); }
std::int64_t Stream::lag() const { return state_->lag(); }
std::int64_t Stream::bytes_per_row() const { return state_->bytes_per_row(); }
void Stream::add_rows(std::int64_t count) { state_->add_rows(count); }
void Stream::remove_rows(const std::vector<std::int64_t>& rows) { state_->remove_rows(rows); }
void Stream::step(const float* keypoints, const std::vector<float*>& answers) {
  check_answers(state_->engine(), answers);
  state_->step(keypoints, answers);
}
void Stream::prepare() { state_->prepare(); }

Engine::Engine(const std::string& weights_file, std::vector<Network> networks, Precision precision,
               EngineOptions options)
    : state_(std::make_shared<detail::EngineState>(weights_file, std::move(networks), precision,
                                                   options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const std::string& Engine::isa() const { return state_->isa; }
int Engine::threads() const { return state_->pool->threads(); }
std::int64_t Engine::weight_bytes() const { return state_->weights->bytes(); }

void Engine::window(const float* keypoints, std::int64_t batch,
                    const std::vector<float*>& answers) {
  check_answers(*state_, answers);
  check_batch(batch);
  detail::run_window(*state_, keypoints, batch, answers);
}

void Engine::sequence(const float* keypoints, std::int64_t batch, std::int64_t frames,
                      const std::vector<float*>& answers) {
  check_answers(*state_, answers);
  check_batch(batch);
  detail::run_sequence(*state_, keypoints, batch, frames, answers);
}

Stream Engine::open_stream(std::int64_t lag) {
  return Stream(std::make_unique<detail::StreamState>(state_, lag));
}

}  // namespace vp3d
