#include "sensitivity.hpp"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "bitfall/errors.hpp"
#include "evaluation.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

/// The network between two steps, on all micro-batches of this rank.
class Passes {
 public:
  Passes(const Network& network, const std::vector<at::Tensor>& micro_batches, JobContext& context)
      : network_(network), context_(context) {
    // In-place operators may change a network's input.
    for (const at::Tensor& images : micro_batches) values_.push_back(network.start(images.clone()));
  }

  /// The next step that runs.
  [[nodiscard]] std::int64_t step() const { return step_; }

  void run_step() {
    each(network_.describe_step(step_), [&](std::size_t i) { network_.run_step(step_, values_[i]); });
    ++step_;
  }

  /// What the network would return if it went on as it is now.
  [[nodiscard]] std::vector<at::Tensor> logits(const std::string& what) const {
    std::vector<at::Tensor> logits(values_.size());
    each(what, [&](std::size_t i) {
      LiveValues values = network_.fork(values_[i]);
      for (std::int64_t step = step_; step < network_.step_count(); ++step) network_.run_step(step, values);
      logits[i] = network_.output(values);
    });
    return logits;
  }

 private:
  template <class Work>
  void each(const std::string& what, const Work& work) const {
    context_.communicator.guarded(what, [&] {
      parallel_for(static_cast<std::int64_t>(values_.size()), context_.threads, [&](std::int64_t i) {
        const at::NoGradGuard no_grad;
        work(static_cast<std::size_t>(i));
      });
    });
  }

  const Network& network_;
  JobContext& context_;
  std::vector<LiveValues> values_;
  std::int64_t step_ = 0;
};

double divergence(const std::vector<at::Tensor>& logits, const std::vector<at::Tensor>& reference,
                  const Communicator& communicator) {
  Evaluation total;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::vector<std::int64_t> no_labels(static_cast<std::size_t>(logits[i].size(0)), 0);
    total.add(logits[i], no_labels, reference[i]);
  }
  total.reduce(communicator);
  return total.divergence();
}

}  // namespace

std::vector<double> measure_sensitivities(Network& network, const std::vector<QuantizedLayer>& layers,
                                          const std::vector<at::Tensor>& micro_batches, JobContext& context) {
  Passes passes(network, micro_batches, context);
  const std::vector<at::Tensor> reference = passes.logits("running the network");
  std::vector<double> divergences;
  for (const QuantizedLayer& layer : layers) {
    // All layers so far began before this one, so that what comes before it need not run again.
    const auto same = [&](const Layer& other) { return other.weight_name == layer.weight_name; };
    const auto found = std::find_if(network.layers().begin(), network.layers().end(), same);
    BITFALL_ASSERT(found != network.layers().end(), layer.name);
    BITFALL_ASSERT(passes.step() <= found->steps.front(), layer.name + " comes before the layer before it");
    while (passes.step() < found->steps.front()) passes.run_step();
    const at::Tensor original = network.tensor(layer.weight_name).clone();
    network.set_tensor(layer.weight_name, decode(layer));
    const std::vector<at::Tensor> logits = passes.logits("measuring layer " + layer.name);
    network.set_tensor(layer.weight_name, original);
    divergences.push_back(divergence(logits, reference, context.communicator));
  }
  return divergences;
}

}  // namespace bitfall
