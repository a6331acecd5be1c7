#include "sensitivity.hpp"

#include <ATen/core/grad_mode.h>

#include "evaluation.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

std::vector<at::Tensor> run(const Network& network, const std::vector<at::Tensor>& micro_batches,
                            int threads) {
  std::vector<at::Tensor> logits(micro_batches.size());
  parallel_for(static_cast<std::int64_t>(micro_batches.size()), threads, [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto slot = static_cast<std::size_t>(i);
    // In-place operators may change a network's input.
    logits[slot] = network.forward(micro_batches[slot].clone());
  });
  return logits;
}

}  // namespace

std::vector<double> measure_sensitivities(Network& network, const std::vector<QuantizedLayer>& layers,
                                          const std::vector<at::Tensor>& micro_batches, JobContext& context) {
  std::vector<double> divergences;
  std::vector<at::Tensor> reference;
  context.communicator.guarded("running the network",
                               [&] { reference = run(network, micro_batches, context.threads); });
  for (const QuantizedLayer& layer : layers) {
    Evaluation total;
    context.communicator.guarded("measuring layer " + layer.name, [&] {
      const at::Tensor original = network.tensor(layer.weight_name).clone();
      network.set_tensor(layer.weight_name, decode(layer));
      const std::vector<at::Tensor> logits = run(network, micro_batches, context.threads);
      network.set_tensor(layer.weight_name, original);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        const std::vector<std::int64_t> no_labels(static_cast<std::size_t>(logits[i].size(0)), 0);
        total.add(logits[i], no_labels, reference[i]);
      }
    });
    total.reduce(context.communicator);
    divergences.push_back(total.divergence());
  }
  return divergences;
}

}  // namespace bitfall
