#include "finetune/trainer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "bitfall/errors.hpp"
#include "finetune/distillation.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// LibTorch's autocast on this thread while it lives. Without its cache: weights change every step.
class Autocast {
 public:
  Autocast(Precision precision, c10::DeviceType device)
      : device_(device),
        was_on_(at::autocast::is_autocast_enabled(device)),
        cached_(at::autocast::is_autocast_cache_enabled()) {
    if (precision != Precision::bf16) return;
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::set_autocast_enabled(device, true);
  }
  ~Autocast() {
    at::autocast::set_autocast_enabled(device_, was_on_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType device_;
  bool was_on_, cached_;
};

std::vector<std::int64_t> trained_norms(const Network& network, bool wanted) {
  std::vector<std::int64_t> steps;
  for (std::int64_t step = 0; wanted && step < network.step_count(); ++step) {
    const BatchNormStep* norm = network.batch_norm_of_step(step);
    if (norm != nullptr && !norm->running_mean.empty()) steps.push_back(step);
  }
  return steps;
}

std::vector<std::int64_t> channels_of(const Network& network, const std::vector<std::int64_t>& norms) {
  std::vector<std::int64_t> channels;
  for (const std::int64_t step : norms)
    channels.push_back(network.tensor(network.batch_norm_of_step(step)->running_mean).numel());
  return channels;
}

/// Parts of a row: trained values, mean and second moment of each batch norm, the loss.
std::vector<std::int64_t> segments(const TrainedSpace& space, const std::vector<std::int64_t>& channels) {
  std::vector<std::int64_t> lengths = space.lengths();
  for (const std::int64_t count : channels) lengths.insert(lengths.end(), {count, count});
  lengths.push_back(1);
  return lengths;
}

std::int64_t count_equal(const at::Tensor& a, const at::Tensor& b) {
  return (a == b).sum().item<std::int64_t>();
}

}  // namespace

/// What one micro-batch adds.
struct Trainer::Outcome {
  std::vector<double> row;
  std::vector<std::int64_t> counts;  ///< top-1, agreement, images, values a channel of each batch norm
  StepReport::Seconds seconds;
};

Trainer::Trainer(Network& student, const Network& teacher, TrainedSpace space, TrainerParameters parameters)
    : student_(student),
      teacher_(teacher),
      space_(std::move(space)),
      parameters_(parameters),
      request_{space_.names(), parameters.train_batch_norms, {}},
      norms_(trained_norms(student, parameters.train_batch_norms)),
      channels_(channels_of(student, norms_)),
      optimizer_(parameters.optimizer, space_.values().size()),
      sums_(segments(space_, channels_)) {
  space_.write(student_);
  if (!student.returns_detections()) return;
  BITFALL_ASSERT(norms_.empty(), "batch norms of detectors stay");
  if (student.on_device()) throw UsageError("detectors are finetuned on the host: give --device cpu");
  detection_ = std::make_unique<const DetectionPass>(student, teacher, space_.names(), parameters.detection);
}

void Trainer::run_detector(const TrainingBatch& batch, std::int64_t images, Outcome& outcome) const {
  const double weight = static_cast<double>(batch.images.size(0)) / static_cast<double>(images);
  const DetectionPass::Result found = detection_->run(batch.images, weight, batch.key);
  outcome.row.assign(static_cast<std::size_t>(sums_.size()), 0.0);
  space_.gather(found.gradients, std::span(outcome.row).first(space_.values().size()));
  outcome.row.back() = weight * found.loss;
  outcome.counts = {0, 0, batch.images.size(0)};
  outcome.seconds = {
      .teacher = found.teacher_seconds, .forward = found.forward_seconds, .backward = found.backward_seconds};
}

void Trainer::run(const TrainingBatch& batch, std::int64_t images, Outcome& outcome) const {
  const double begin = now();
  at::Tensor target, given;
  LiveValues values;
  double forward = 0;
  {
    const at::Tensor input = student_.place(batch.images);
    const Autocast autocast(parameters_.precision, input.device().type());
    // In-place operators may change a network's input, so the teacher gets its own.
    target = teacher_.forward(input.clone()).to(at::kFloat);
    forward = now();
    values = student_.start(input, request_);
    for (std::int64_t step = 0; step < student_.step_count(); ++step) student_.run_step(step, values);
    given = student_.output(values);
  }
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor logits = given.to(at::kFloat);
  const at::Tensor loss = distillation_loss(logits, target, batch.labels, parameters_.distillation, images);
  const double backward = now();
  const std::vector<at::Tensor> gradients = student_.gradients(values, loss);

  const c10::AutoGradMode no_gradients(false);
  outcome.row.assign(static_cast<std::size_t>(sums_.size()), 0.0);
  const std::size_t trained = space_.values().size();
  space_.gather(gradients, std::span(outcome.row).first(trained));
  const at::Tensor guess = logits.argmax(1);
  const at::Tensor label = student_.place(at::tensor(at::ArrayRef<std::int64_t>(batch.labels)));
  outcome.counts = {count_equal(guess, label), count_equal(guess, target.argmax(1)), batch.images.size(0)};
  std::size_t place = trained;
  const double weight = static_cast<double>(batch.images.size(0)) / static_cast<double>(images);
  for (const std::int64_t step : norms_) {
    const BatchStatistics& found = student_.batch_statistics(step, values);
    const auto channels = static_cast<std::size_t>(found.mean.numel());
    const at::Tensor host_mean = found.mean.cpu(), host_variance = found.variance.cpu();
    const float* mean = host_mean.const_data_ptr<float>();
    const float* variance = host_variance.const_data_ptr<float>();
    const auto n = static_cast<double>(found.values);
    for (std::size_t c = 0; c < channels; ++c, ++place) {
      // E[x] and E[x^2] = var (n - 1)/n + E[x]^2, weighed so that micro-batches add up to the batch
      outcome.row[place] = weight * double(mean[c]);
      outcome.row[place + channels] =
          weight * (double(variance[c]) * (n - 1) / n + double(mean[c]) * double(mean[c]));
    }
    place += channels;
    outcome.counts.push_back(found.values);
  }
  outcome.row[place] = loss.item<double>();
  outcome.seconds = {.teacher = forward - begin, .forward = backward - forward, .backward = now() - backward};
}

StepReport Trainer::step(std::span<const TrainingBatch> local, const GlobalBatch& batch, double learning_rate,
                         std::span<std::int64_t> flags, const Communicator& communicator) {
  std::vector<Outcome> outcomes(local.size());
  const int threads = student_.on_device() ? 1 : parameters_.threads;
  communicator.guarded("finetuning", [&] {
    parallel_for(static_cast<std::int64_t>(local.size()), threads, [&](std::int64_t i) {
      const auto index = static_cast<std::size_t>(i);
      if (detection_)
        run_detector(local[index], batch.images, outcomes[index]);
      else
        run(local[index], batch.images, outcomes[index]);
    });
  });
  StepReport report;
  std::vector<std::int64_t> counts(3 + norms_.size(), 0);
  std::vector<std::vector<double>> rows;
  for (Outcome& outcome : outcomes) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += outcome.counts[i];
    rows.push_back(std::move(outcome.row));
    report.seconds.teacher += outcome.seconds.teacher / threads;
    report.seconds.forward += outcome.seconds.forward / threads;
    report.seconds.backward += outcome.seconds.backward / threads;
  }
  const double exchange = now();
  counts.insert(counts.end(), flags.begin(), flags.end());
  const std::vector<double> total = sums_.total(rows, batch.micro_batches, counts, communicator);
  std::copy(counts.end() - static_cast<std::ptrdiff_t>(flags.size()), counts.end(), flags.begin());
  report.seconds.exchange = now() - exchange;

  const double update = now();
  const std::size_t trained = space_.values().size();
  optimizer_.step(space_.values(), std::span(total).first(trained), learning_rate);
  space_.write(student_);
  update_statistics(std::span(total).subspan(trained), std::span(counts).subspan(3, norms_.size()));
  report.seconds.update = now() - update;
  report.loss = total.back();
  report.top1 = counts[0];
  report.agreement = counts[1];
  report.images = counts[2];
  report.classifies = detection_ == nullptr;
  return report;
}

void Trainer::update_statistics(std::span<const double> moments, std::span<const std::int64_t> values) {
  const double momentum = parameters_.batch_norm_momentum;
  std::size_t first = 0;
  for (std::size_t i = 0; i < norms_.size(); ++i) {
    const auto channels = static_cast<std::size_t>(channels_[i]);
    const BatchNormStep& norm = *student_.batch_norm_of_step(norms_[i]);
    const at::Tensor new_mean = student_.tensor(norm.running_mean).clone();
    const at::Tensor new_variance = student_.tensor(norm.running_variance).clone();
    float* mean = new_mean.mutable_data_ptr<float>();
    float* variance = new_variance.mutable_data_ptr<float>();
    const auto n = static_cast<double>(values[i]);
    for (std::size_t c = 0; c < channels; ++c) {
      const double m = moments[first + c];
      // var = (E[x^2] - E[x]^2) n / (n - 1), over the whole batch: unbiased, as batch norm keeps it
      const double v = std::max(0.0, moments[first + channels + c] - m * m) * n / std::max(n - 1, 1.0);
      mean[c] = static_cast<float>((1 - momentum) * double(mean[c]) + momentum * m);
      variance[c] = static_cast<float>((1 - momentum) * double(variance[c]) + momentum * v);
    }
    first += 2 * channels;
    student_.set_tensor(norm.running_mean, new_mean);
    student_.set_tensor(norm.running_variance, new_variance);
  }
}

}  // namespace bitfall
