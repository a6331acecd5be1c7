#pragma once
/// A small teacher, its quantized student, and images.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "../calibration/small_network.hpp"
#include "finetune/distillation.hpp"
#include "finetune/trainer.hpp"
#include "quantize_layer.hpp"

namespace bitfall::test {

struct TrainerSetup {
  /// As the program sets it (jobs/runtime.cpp): with threads of LibTorch's own inside ours, its backward pass
  /// was seen to wait for ever.
  /// `arrays`: of the device that the networks will be moved to.
  explicit TrainerSetup(const ArrayWork* arrays = nullptr) : arrays_(arrays) { at::set_num_threads(1); }

  Network teacher = small_network(), student = small_network();
  std::vector<QuantizedLayer> layers = {quantize_layer(teacher, "conv2", 9, 4),
                                        quantize_layer(teacher, "fc", 4, 3)};

  Trainer trainer(OptimizerParameters optimizer, bool train_batch_norms, int threads = 1,
                  Precision precision = Precision::fp32) {
    TrainedSpace space(arrays_);
    for (const QuantizedLayer& layer : layers) space.add_codebook(layer);
    TrainerParameters parameters;
    parameters.optimizer = optimizer;
    parameters.train_batch_norms = train_batch_norms;
    parameters.threads = threads;
    parameters.precision = precision;
    return Trainer(student, teacher, std::move(space), parameters);
  }

  /// How many blocks have the codeword that value `index` of the space belongs to.
  [[nodiscard]] double members(std::size_t index) const {
    for (const QuantizedLayer& layer : layers) {
      if (index < layer.codebook.size()) {
        const auto code = static_cast<std::uint16_t>(index / static_cast<std::size_t>(layer.d));
        return static_cast<double>(std::count(layer.codes.begin(), layer.codes.end(), code));
      }
      index -= layer.codebook.size();
    }
    return 0;
  }

 private:
  const ArrayWork* arrays_;
};

/// Three images each, the last one of one.
inline std::vector<TrainingBatch> training_batches(std::int64_t count) {
  std::vector<TrainingBatch> batches;
  for (const at::Tensor& images : small_images(count)) {
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < images.size(0); ++i) labels.push_back(i % 5);
    batches.push_back({images, labels});
  }
  return batches;
}

}  // namespace bitfall::test
