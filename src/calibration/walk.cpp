#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <numeric>
#include <optional>
#include <string>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "parallel/memory.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// LibTorch's own threads are off while this lives: their partition of the work
/// would decide the bits, and micro-batches side by side use the cores better.
class OneThreadPerOperator {
 public:
  OneThreadPerOperator() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThreadPerOperator() { at::set_num_threads(before_); }
  OneThreadPerOperator(const OneThreadPerOperator&) = delete;
  OneThreadPerOperator& operator=(const OneThreadPerOperator&) = delete;

 private:
  int before_;
};

/// The values between two steps of all micro-batches of this rank.
class Frontier {
 public:
  Frontier(const Network& network, std::vector<at::Tensor> micro_batches, int threads,
           const Communicator& communicator)
      : network_(network),
        threads_(network.on_device() ? 1 : threads),
        communicator_(communicator),
        bytes_of_(micro_batches.size()) {
    // Errors name a micro-batch by its index in the whole list, which no rank
    // count changes.
    const std::vector<std::int64_t> mine{static_cast<std::int64_t>(micro_batches.size())};
    const auto counts = communicator.all_gather(std::span<const std::int64_t>(mine));
    first_index_ = std::accumulate(counts.begin(), counts.begin() + communicator.rank(), std::int64_t{0});
    values_.reserve(micro_batches.size());
    for (std::size_t i = 0; i < micro_batches.size(); ++i) {
      values_.push_back(network.start(std::move(micro_batches[i])));
      count(i);
    }
    peak_bytes_ = bytes_;
  }

  /// The same micro-batches, between the same steps, in an equal network.
  Frontier(const Network& network, const Frontier& other)
      : network_(network),
        threads_(other.threads_),
        communicator_(other.communicator_),
        first_index_(other.first_index_),
        bytes_of_(other.values_.size()) {
    for (const LiveValues& values : other.values_) values_.push_back(network.fork(values));
    for (std::size_t i = 0; i < values_.size(); ++i) count(i);
    peak_bytes_ = bytes_;
  }

  /// What a batch norm will read, one tensor for each micro-batch.
  [[nodiscard]] std::vector<at::Tensor> step_inputs(std::int64_t step) const {
    std::vector<at::Tensor> inputs;
    inputs.reserve(values_.size());
    for (const LiveValues& values : values_) inputs.push_back(network_.step_input(step, values));
    return inputs;
  }

  /// What a layer will read from this step, its first, on: for all micro-batches in order (collective).
  [[nodiscard]] std::vector<at::Tensor> layer_inputs(std::int64_t step, std::size_t layer) const {
    std::vector<std::vector<at::Tensor>> found(values_.size());
    communicator_.guarded(network_.describe_step(step), [&] {
      parallel_for(static_cast<std::int64_t>(values_.size()), threads_, [&](std::int64_t index) {
        const at::NoGradGuard no_grad;
        const auto i = static_cast<std::size_t>(index);
        found[i] = network_.layer_inputs(layer, values_[i]);
      });
    });
    std::vector<at::Tensor> inputs;
    for (const auto& part : found) inputs.insert(inputs.end(), part.begin(), part.end());
    return inputs;
  }

  /// What a step of Network::is_plain_convolution has just made, one tensor for each micro-batch.
  [[nodiscard]] std::vector<at::Tensor> step_outputs(std::int64_t step) const {
    std::vector<at::Tensor> outputs;
    for (const LiveValues& values : values_) outputs.push_back(network_.step_output(step, values));
    return outputs;
  }

  /// What the step's output will be added to, one tensor for each micro-batch.
  [[nodiscard]] std::vector<at::Tensor> shortcuts(std::int64_t step) const {
    std::vector<at::Tensor> shortcuts;
    for (const LiveValues& values : values_) shortcuts.push_back(network_.shortcut(step, values));
    return shortcuts;
  }

  /// Runs the step for every micro-batch (collective).
  void run(std::int64_t step) {
    communicator_.guarded(network_.describe_step(step), [&] {
      parallel_for(static_cast<std::int64_t>(values_.size()), threads_, [&](std::int64_t index) {
        const at::NoGradGuard no_grad;  // thread-local: every thread needs its own
        const auto i = static_cast<std::size_t>(index);
        run_one(step, i);
        count(i);
      });
    });
    peak_bytes_ = std::max(peak_bytes_, bytes_.load());
  }

  [[nodiscard]] std::vector<c10::IValue> results() const {
    std::vector<c10::IValue> results;
    for (const LiveValues& values : values_) results.push_back(network_.result(values));
    return results;
  }

  /// The most that was live between two steps.
  [[nodiscard]] std::int64_t peak_bytes() const { return peak_bytes_; }

 private:
  /// Notes what a micro-batch holds now. Holes that freed inputs left in the heap count as resident until
  /// they are given back; only around the peak is that worth the page faults that follow (20 % of the peak on
  /// ResNet-50).
  void count(std::size_t i) {
    const std::int64_t now = values_[i].bytes();
    bytes_ += now - bytes_of_[i];
    bytes_of_[i] = now;
    if (peak_bytes_ > 0 && 10 * bytes_ > 9 * peak_bytes_) release_free_memory();
  }

  /// The step for one micro-batch; an error names it.
  void run_one(std::int64_t step, std::size_t i) {
    try {
      network_.run_step(step, values_[i]);
    } catch (const DataError& error) {
      throw DataError("micro-batch " + std::to_string(first_index_ + static_cast<std::int64_t>(i)) + ": " +
                      error.what());
    }
  }

  const Network& network_;
  int threads_;
  const Communicator& communicator_;
  std::int64_t first_index_ = 0;
  std::vector<LiveValues> values_;
  std::vector<std::int64_t> bytes_of_;   ///< each micro-batch's live values
  std::atomic<std::int64_t> bytes_ = 0;  ///< their sum
  std::int64_t peak_bytes_ = 0;          ///< the largest sum so far, as of the last step
};

/// The network and, where it has one, its teacher, side by side. While both have the same tensors one set of
/// values is both's: the teacher sets out when a visitor first changes the network (ResNet-18 does a quarter
/// of its work before its first quantized layer).
class Walkers {
 public:
  Walkers(const Network& network, std::vector<at::Tensor> micro_batches, const WalkParameters& parameters,
          const Communicator& communicator, const std::function<void(const WalkStep&)>& visitor)
      : network_(network),
        teacher_network_(parameters.teacher),
        visitor_(visitor),
        changes_(network.changes()) {
    const Network* teacher = teacher_network_;
    BITFALL_ASSERT(teacher == nullptr || teacher->step_count() == network.step_count(),
                   "the teacher has other steps");
    together_ = teacher != nullptr && network.equals(*teacher);
    if (teacher != nullptr && !together_) {
      std::vector<at::Tensor> copies;  // operators may write to their inputs
      for (const at::Tensor& images : micro_batches) copies.push_back(images.clone());
      teacher_.emplace(*teacher, std::move(copies), parameters.threads, communicator);
    }
    student_.emplace(network, std::move(micro_batches), parameters.threads, communicator);
  }

  void show_batch_norm(std::int64_t step) {
    const auto inputs = student_->step_inputs(step);
    const auto known = teacher_ ? teacher_->step_inputs(step) : also_of_teacher(inputs);
    show({.step = step,
          .layer = std::nullopt,
          .inputs = inputs,
          .teacher = teacher_network_,
          .teacher_inputs = known,
          .teacher_outputs = {},
          .shortcuts = {},
          .teacher_shortcuts = {}});
  }

  /// `step` is the first that uses the layer.
  void show_layer(std::int64_t step, std::size_t layer) {
    const auto inputs = student_->layer_inputs(step, layer);
    const bool sums = teacher_network_ != nullptr && network_.layers()[layer].steps.size() == 1 &&
                      network_.has_shortcut(step) && teacher_network_->has_shortcut(step);
    const auto shortcuts = sums ? student_->shortcuts(step) : std::vector<at::Tensor>();
    const auto right = sums && teacher_ ? teacher_->shortcuts(step) : also_of_teacher(shortcuts);
    std::vector<at::Tensor> known, made;
    if (teacher_ && teacher_network_->is_plain_convolution(step)) {
      teacher_->run(step);
      teacher_is_ahead_ = true;
      made = teacher_->step_outputs(step);
    } else {
      known = teacher_ ? teacher_->layer_inputs(step, layer) : also_of_teacher(inputs);
    }
    show({.step = step,
          .layer = layer,
          .inputs = inputs,
          .teacher = teacher_network_,
          .teacher_inputs = known,
          .teacher_outputs = made,
          .shortcuts = shortcuts,
          .teacher_shortcuts = right});
  }

  void run(std::int64_t step) {
    student_->run(step);
    if (teacher_ && !teacher_is_ahead_) teacher_->run(step);
    teacher_is_ahead_ = false;
  }

  [[nodiscard]] std::vector<c10::IValue> results() const { return student_->results(); }
  [[nodiscard]] std::int64_t peak_bytes() const {
    return student_->peak_bytes() + (teacher_ ? teacher_->peak_bytes() : 0);
  }

 private:
  void show(const WalkStep& step) {
    visitor_(step);
    if (!together_ || network_.changes() == changes_) return;
    teacher_.emplace(*teacher_network_, *student_);
    together_ = false;
  }

  /// The teacher's tensors while they are the student's.
  [[nodiscard]] std::vector<at::Tensor> also_of_teacher(const std::vector<at::Tensor>& tensors) const {
    return together_ ? tensors : std::vector<at::Tensor>();
  }

  const Network& network_;
  const Network* teacher_network_;
  const std::function<void(const WalkStep&)>& visitor_;
  std::uint64_t changes_;  ///< of the network, when the walk began
  bool together_ = false;
  bool teacher_is_ahead_ = false;  ///< by the step that is shown
  std::optional<Frontier> student_, teacher_;
};

}  // namespace

std::vector<c10::IValue> walk(const Network& network, std::vector<at::Tensor> micro_batches,
                              const WalkParameters& parameters, const Communicator& communicator,
                              const std::function<void(const WalkStep&)>& before_step,
                              WalkStatistics* statistics) {
  const OneThreadPerOperator one_thread;
  const at::NoGradGuard no_grad;
  Walkers walkers(network, std::move(micro_batches), parameters, communicator, before_step);
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    // What is shown is let go before the step runs, so that each micro-batch can free its input as soon as
    // it has run. Layers one after the other: one reads what another one, perhaps changed meanwhile, makes.
    if (before_step) {
      if (network.batch_norm_of_step(step) != nullptr) walkers.show_batch_norm(step);
      for (const std::size_t layer : network.first_uses(step))
        if (network.layers()[layer].obstacle.empty()) walkers.show_layer(step, layer);
    }
    walkers.run(step);
  }
  if (statistics != nullptr) statistics->peak_frontier_bytes = walkers.peak_bytes();
  return walkers.results();
}

}  // namespace bitfall
