#include "calibration/channel_energy.hpp"

#include <cstddef>

#include "calibration/channel_kernels.hpp"
#include "calibration/flat_layer.hpp"
#include "calibration/layer_window.hpp"
#include "calibration/partial_sums.hpp"
#include "calibration/torch_errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {

std::vector<double> accumulate_channel_energies(const Layer& layer, std::span<const at::Tensor> inputs,
                                                int threads, const Communicator& communicator) {
  const auto channels = static_cast<std::size_t>(layer.rows());
  PartialSums partials(inputs.size(), channels);
  const auto add = [&](const at::Tensor& given, std::span<double> sums) {
    const at::Tensor input = flat_input(layer, given.cpu());
    if (input.dim() < 3 || input.size(1) != layer.rows()) refuse_input(layer, input);
    if (input.numel() == 0) return;
    const std::int64_t length = input.numel() / input.size(0) / input.size(1);
    const float* plane = input.const_data_ptr<float>();
    for (std::int64_t image = 0; image < input.size(0); ++image)
      for (std::size_t channel = 0; channel < channels; ++channel, plane += length)
        sums[channel] += centered_sum(plane, length, 0, 2);
  };
  communicator.guarded("input channels of layer '" + layer.name + "'", [&] {
    parallel_for(static_cast<std::int64_t>(inputs.size()), threads, [&](std::int64_t index) {
      const auto i = static_cast<std::size_t>(index);
      with_torch_errors([&] { add(inputs[i], partials.row(i)); },
                        [&] { return "layer '" + layer.name + "'"; });
    });
    if (!partials.is_finite()) throw_bad_input(layer, inputs, {});
  });
  return partials.total(communicator);
}

}  // namespace bitfall
