#include "bindings.hpp"

#include <utility>

#include "network_arguments.hpp"

namespace nb = nanobind;

namespace vp3d::python {
namespace {

// The answers' arrays, one per network and each of shape (*leading, J_out, 3).
std::vector<Array> answer_arrays(nb::tuple answers, const std::vector<ModelSpec>& specs,
                                 const Shape& leading) {
  if (answers.size() != specs.size())
    throw nb::value_error(("expected " + std::to_string(specs.size()) + " arrays of answers, not " +
                           std::to_string(answers.size()))
                              .c_str());
  std::vector<Array> arrays;
  arrays.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    arrays.emplace_back(answers[i], "answers", Array::Access::write);
    Shape expected = leading;
    expected.insert(expected.end(), {specs[i].joints_out, 3});
    if (!arrays.back().fits(expected))
      throw nb::value_error(("answers " + std::to_string(i) + " have shape " +
                             text_of(arrays.back().shape()) + "; expected " + text_of(expected))
                                .c_str());
  }
  return arrays;
}

std::vector<float*> pointers(const std::vector<Array>& arrays) {
  std::vector<float*> result;
  for (const Array& array : arrays) result.push_back(array.mutable_data());
  return result;
}

void refuse_shape(const Array& keypoints, const std::string& who, const Shape& expected) {
  throw nb::value_error(("keypoints have shape " + text_of(keypoints.shape()) + "; " + who + " " +
                         text_of(expected))
                            .c_str());
}

}  // namespace

// A stream is one thread's at a time. Held from the first look at it to the last.
class PyStream::Use {
 public:
  explicit Use(PyStream& stream) : stream_(stream) {
    if (stream.in_use_.exchange(true))
      throw std::runtime_error(
          "another thread is using this stream at this moment; open one per thread");
    if (stream.stream_ == nullptr) {
      stream.in_use_ = false;
      throw std::runtime_error("this stream is closed; open another");
    }
  }
  ~Use() { stream_.in_use_ = false; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  PyStream& stream_;
};

PyStream::PyStream(Stream stream, std::vector<ModelSpec> specs)
    : stream_(std::make_unique<Stream>(std::move(stream))),
      specs_(std::move(specs)),
      lag_(stream_->lag()) {}

std::int64_t PyStream::bytes_per_row() {
  const Use use(*this);
  return stream_->bytes_per_row();
}

void PyStream::add_rows(std::int64_t count) {
  const Use use(*this);
  const nb::gil_scoped_release released;
  stream_->add_rows(count);
  n_rows_ = stream_->n_rows();
}

void PyStream::remove_rows(const std::vector<std::int64_t>& rows) {
  const Use use(*this);
  const nb::gil_scoped_release released;
  stream_->remove_rows(rows);
  n_rows_ = stream_->n_rows();
}

void PyStream::step(nb::handle keypoints, nb::tuple answers) {
  const Use use(*this);
  const Array input(keypoints, "keypoints", Array::Access::read);
  const ModelSpec& spec = specs_.front();
  const std::int64_t rows = n_rows_;
  const Shape expected{rows, spec.joints_in, spec.features};
  if (!input.fits(expected))
    refuse_shape(input, std::to_string(rows) + " open streams expect", expected);
  const std::vector<Array> arrays = answer_arrays(answers, specs_, {rows});
  outputs_ = pointers(arrays);
  const nb::gil_scoped_release released;
  if (rows > 0) stream_->step(input.data(), outputs_);
}

void PyStream::prepare() {
  const Use use(*this);
  const nb::gil_scoped_release released;
  stream_->prepare();
}

void PyStream::close() {
  if (stream_ == nullptr) return;
  const Use use(*this);
  const std::unique_ptr<Stream> gone = std::move(stream_);
  n_rows_ = 0;
}

PyEngine::PyEngine(nb::handle weights, nb::dict networks, const std::string& precision,
                   int threads, bool pin_threads, const std::string& isa) {
  std::vector<Network> list = networks_from(networks);
  for (const Network& network : list) specs_.push_back(network.spec);
  const std::string path = path_from(weights);
  const Precision chosen = precision_called(precision);
  const nb::gil_scoped_release released;
  engine_ = std::make_shared<Engine>(path, std::move(list), chosen,
                                     EngineOptions{threads, pin_threads, isa});
}

std::shared_ptr<Engine> PyEngine::open() const {
  if (engine_ == nullptr) throw std::runtime_error("this engine is closed; open its bundle again");
  return engine_;
}

void PyEngine::window(nb::handle keypoints, nb::tuple answers) {
  const std::shared_ptr<Engine> engine = open();
  const Array input(keypoints, "keypoints", Array::Access::read);
  const ModelSpec& spec = specs_.front();
  const Shape expected{-1, spec.receptive_field(), spec.joints_in, spec.features};
  if (!input.fits(expected)) refuse_shape(input, "a window is", expected);
  const std::int64_t batch = input.axis(0);
  const std::vector<Array> arrays = answer_arrays(answers, specs_, {batch});
  const std::vector<float*> outputs = pointers(arrays);
  const nb::gil_scoped_release released;
  if (batch > 0) engine->window(input.data(), batch, outputs);
}

void PyEngine::sequence(nb::handle keypoints, nb::tuple answers) {
  const std::shared_ptr<Engine> engine = open();
  const Array input(keypoints, "keypoints", Array::Access::read);
  const ModelSpec& spec = specs_.front();
  const Shape expected{-1, -1, spec.joints_in, spec.features};
  if (!input.fits(expected)) refuse_shape(input, "a sequence is", expected);
  const std::int64_t batch = input.axis(0), frames = input.axis(1);
  if (frames < spec.receptive_field())
    refuse_shape(input, "a sequence has at least " + std::to_string(spec.receptive_field()) +
                            " frames,", expected);
  const std::vector<Array> arrays =
      answer_arrays(answers, specs_, {batch, frames - spec.receptive_field() + 1});
  const std::vector<float*> outputs = pointers(arrays);
  const nb::gil_scoped_release released;
  if (batch > 0) engine->sequence(input.data(), batch, frames, outputs);
}

std::unique_ptr<PyStream> PyEngine::open_stream(std::int64_t lag) {
  const std::shared_ptr<Engine> engine = open();
  const nb::gil_scoped_release released;
  return std::make_unique<PyStream>(engine->open_stream(lag), specs_);
}

}  // namespace vp3d::python
