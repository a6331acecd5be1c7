#include "finetune/detection_pass.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "bitfall/errors.hpp"
#include "model/detections.hpp"
#include "model/error_text.hpp"
#include "model/module_file.hpp"

namespace bitfall {
namespace {

using Target = c10::Dict<std::string, at::Tensor>;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The network's module in eval mode, on the network's own tensors.
torch::jit::Module module_of(const Network& network) {
  torch::jit::Module module = load_module(network.save(), "the network");
  for (const auto& parameter : module.named_parameters()) {
    at::Tensor tensor = parameter.value;
    tensor.set_data(network.tensor(parameter.name));
    tensor.set_requires_grad(false);
  }
  return module;
}

/// In training mode, but for batch norms.
void begin_training(torch::jit::Module& module) {
  module.train();
  for (torch::jit::Module part : module.modules())
    if (part.hasattr("running_mean")) part.eval();
}

std::vector<at::Tensor> find_leaves(const torch::jit::Module& module, const std::vector<std::string>& names) {
  std::vector<at::Tensor> leaves(names.size());
  for (const auto& parameter : module.named_parameters()) {
    const auto found = std::find(names.begin(), names.end(), parameter.name);
    if (found == names.end()) continue;
    at::Tensor leaf = parameter.value;
    leaves[static_cast<std::size_t>(found - names.begin())] = leaf.set_requires_grad(true);
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!leaves[i].defined()) throw DataError("the detector has no parameter '" + names[i] + "' to train");
  return leaves;
}

c10::List<at::Tensor> list_of_images(const at::Tensor& images) {
  c10::List<at::Tensor> list;
  for (const at::Tensor& image : images.unbind(0))
    list.push_back(image.clone());  // forwards may write to them
  return list;
}

/// What torchvision's training takes: the detections with at least this score, masks as 0 and 1.
c10::List<Target> targets_of(const std::vector<Detections>& found, double least_score) {
  c10::List<Target> targets;
  for (const Detections& image : found) {
    const at::Tensor chosen = (image.scores >= least_score).nonzero().flatten();
    Target target;
    target.insert("boxes", image.boxes.index_select(0, chosen));
    target.insert("labels", image.labels.index_select(0, chosen));
    if (image.masks.defined())
      target.insert("masks", (image.masks.index_select(0, chosen).squeeze(1) > 0.5).to(at::kByte));
    targets.push_back(std::move(target));
  }
  return targets;
}

/// The levels of the backbone's features for a list of images, resized and normalised as the module does.
std::vector<at::Tensor> features_of(torch::jit::Module& module, const c10::List<at::Tensor>& images) {
  const c10::IValue transformed = module.attr("transform").toModule().forward({images, c10::IValue()});
  c10::IValue batch = transformed.toTupleRef().elements().at(0);
  if (batch.isObject()) batch = batch.toObject()->getAttr("tensors");  // torchvision's ImageList
  const c10::IValue features = module.attr("backbone").toModule().forward({batch});
  if (features.isTensor()) return {features.toTensor()};
  std::vector<at::Tensor> levels;
  for (const auto& level : features.toGenericDict()) levels.push_back(level.value().toTensor());
  return levels;
}

at::Tensor sum_of_losses(const c10::IValue& result) {
  at::Tensor sum;
  if (result.isTuple() && result.toTupleRef().elements().at(0).isGenericDict()) {
    for (const auto& loss : result.toTupleRef().elements().at(0).toGenericDict())
      sum = sum.defined() ? sum + loss.value().toTensor() : loss.value().toTensor();
  }
  if (!sum.defined())
    throw DataError("the network gives no losses in training mode, as torchvision's detectors do");
  return sum;
}

void seed_generator(std::uint64_t key) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(key);
}

}  // namespace

DetectionPass::DetectionPass(const Network& student, const Network& teacher,
                             const std::vector<std::string>& names, const DetectionDistillation& parameters)
    : student_(module_of(student)), teacher_(module_of(teacher)), parameters_(parameters) {
  begin_training(student_);
  leaves_ = find_leaves(student_, names);
  for (const torch::jit::Module* module : {&student_, &teacher_}) {
    if (parameters_.feature_weight > 0 && !(module->hasattr("transform") && module->hasattr("backbone")))
      throw DataError(
          "the detector has no 'transform' and 'backbone' to compare features of; give --feature-weight 0");
  }
}

DetectionPass::Result DetectionPass::run(const at::Tensor& images, double weight, std::uint64_t key) const {
  const std::lock_guard lock(mutex_);
  // The first runs of a module would be profiled and later ones fused: other bits, by how many runs a rank
  // has had.
  const torch::jit::GraphOptimizerEnabledGuard as_written(false);
  Result result;
  const double begin = seconds_now();
  try {
    c10::List<Target> targets;
    std::vector<at::Tensor> wanted;
    {
      const c10::AutoGradMode no_gradients(false);
      targets =
          targets_of(detections_of(teacher_.forward({list_of_images(images)})), parameters_.teacher_score);
      if (parameters_.feature_weight > 0) wanted = features_of(teacher_, list_of_images(images));
    }
    const double taught = seconds_now();
    const c10::AutoGradMode with_gradients(true);
    seed_generator(key);
    at::Tensor loss = sum_of_losses(student_.forward({list_of_images(images), targets}));
    if (parameters_.feature_weight > 0) {
      const std::vector<at::Tensor> given = features_of(student_, list_of_images(images));
      for (std::size_t level = 0; level < given.size(); ++level)
        loss = loss + (given[level] - wanted.at(level)).square().sum() / wanted[level].square().sum() *
                          (parameters_.feature_weight / static_cast<double>(given.size()));
    }
    const double forwarded = seconds_now();
    result.loss = loss.item<double>();
    result.gradients = torch::autograd::grad({loss * weight}, leaves_, {}, /*retain_graph=*/false,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      at::Tensor& gradient = result.gradients[i];
      gradient = gradient.defined() ? gradient.detach() : at::zeros_like(leaves_[i]).detach();
    }
    result.teacher_seconds = taught - begin;
    result.forward_seconds = forwarded - taught;
    result.backward_seconds = seconds_now() - forwarded;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw_as_ours(error, "training the detector");
  }
  return result;
}

}  // namespace bitfall
