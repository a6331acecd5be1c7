#include "reassign.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "bitfall/calibration.hpp"
#include "inputs.hpp"
#include "src/finetune/codebook_gradient.hpp"

namespace bitfall {

namespace {

/// What happened to all layers.
struct Totals {
  std::int64_t layers = 0, kept = 0, moved = 0, codes = 0;
};

class Visitor {
 public:
  Visitor(Network& student, const Network& teacher, const ReassignParameters& parameters,
          std::vector<QuantizedLayer>& layers, TrainedSpace& space, const JobContext& context)
      : student_(student),
        teacher_(teacher),
        parameters_(parameters),
        layers_(layers),
        space_(space),
        context_(context) {}

  void before_step(const WalkStep& step) {
    const auto index = step.layer;
    if (!index) return;
    const Layer& layer = student_.layers().at(*index);
    const auto found = std::find_if(layers_.begin(), layers_.end(), [&](const QuantizedLayer& quantized) {
      return quantized.weight_name == layer.weight_name;
    });
    if (found != layers_.end()) reassign(*found, *index, layer, step);
  }
  [[nodiscard]] const Totals& totals() const { return totals_; }

 private:
  void reassign(QuantizedLayer& quantized, std::size_t index, const Layer& layer, const WalkStep& step) {
    const at::Tensor aim = teacher_.tensor(layer.weight_name).to(at::kFloat).contiguous();
    const std::span<const float> values(aim.const_data_ptr<float>(), static_cast<std::size_t>(aim.numel()));
    const LayerMoments moments = measure_moments(student_, index, quantized.metric, quantized.d, aim, step,
                                                 parameters_.moments, context_);
    const std::vector<float> codebook = codebook_of(quantized);
    QuantizerParameters quantizer = quantizer_parameters(parameters_.cluster);
    quantizer.kmeans.threads = context_.threads;
    const Reassignment result = reassign_codes({values, layer.rows(), quantized.d}, quantized.metric, moments,
                                               codebook, quantized.codes, quantizer, context_.communicator);
    ++totals_.layers;
    totals_.codes += static_cast<std::int64_t>(quantized.codes.size());
    if (!result.is_kept()) return;
    ++totals_.kept;
    for (std::size_t i = 0; i < result.codes.size(); ++i)
      if (result.codes[i] != quantized.codes[i]) ++totals_.moved;
    quantized.codes = result.codes;
    space_.set_codes(quantized.weight_name, quantized.codes);
    std::vector<float> dense(values.size());
    decode_blocks(codebook, quantized.codes, quantized.d, dense);
    student_.set_tensor(quantized.weight_name, dense);
  }

  /// As training has it, or as it is stored where codebooks are not trained.
  [[nodiscard]] std::vector<float> codebook_of(const QuantizedLayer& quantized) const {
    const std::span<const float> trained = space_.codebook(quantized.weight_name);
    std::vector<float> codebook(trained.begin(), trained.end());
    if (codebook.empty())
      for (const std::uint16_t half : quantized.codebook) codebook.push_back(half_to_float(half));
    return codebook;
  }

  Network& student_;
  const Network& teacher_;
  const ReassignParameters& parameters_;
  std::vector<QuantizedLayer>& layers_;
  TrainedSpace& space_;
  const JobContext& context_;
  Totals totals_;
};

}  // namespace

void reassign_all(Network& student, const Network& teacher, const ShardSet& shards,
                  const Preprocessing& preprocessing, const ReassignParameters& parameters,
                  std::vector<QuantizedLayer>& layers, TrainedSpace& space, const JobContext& context) {
  const auto samples = choose_samples(static_cast<std::int64_t>(shards.samples().size()),
                                      parameters.calibration_images, context.options.seed);
  const auto local =
      local_micro_batches(cut_micro_batches(samples, parameters.micro_batch), context.communicator);
  Visitor visitor(student, teacher, parameters, layers, space, context);
  walk(student, load_inputs(shards, preprocessing, local, context.threads, context),
       WalkParameters{.threads = context.threads, .teacher = &teacher}, context.communicator,
       [&](const WalkStep& step) { visitor.before_step(step); });
  const Totals& totals = visitor.totals();
  context.reporter.event(
      "reassigned",
      {{"layers", totals.layers}, {"kept", totals.kept}, {"moved", totals.moved}, {"codes", totals.codes}});
}

}  // namespace bitfall
