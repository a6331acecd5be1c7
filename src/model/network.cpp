#include "bitfall/network.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <new>
#include <unordered_map>

#include "bitfall/errors.hpp"
#include "model/detections.hpp"
#include "model/device_copy.hpp"
#include "model/error_text.hpp"
#include "model/image_list.hpp"
#include "model/layer_table.hpp"
#include "model/logits.hpp"
#include "model/module_file.hpp"
#include "model/observed_inputs.hpp"
#include "model/step_graph.hpp"
#include "model/tensor_table.hpp"

namespace bitfall {
namespace {

/// Turns the arguments of aten::batch_norm(input, weight?, bias?, running_mean?, running_var?, training,
/// momentum, eps, cudnn_enabled) into those of training, with statistics of its own: with momentum 1 they
/// become the micro-batch's.
BatchStatistics train_batch_norm(torch::jit::Stack& stack) {
  const at::Tensor& input = stack.at(0).toTensor();
  const at::Tensor& running_mean = stack.at(3).toTensor();
  BatchStatistics found{at::zeros_like(running_mean), at::ones_like(running_mean),
                        input.size(1) == 0 ? 0 : input.numel() / input.size(1)};
  stack[3] = found.mean;
  stack[4] = found.variance;
  stack[5] = true;
  stack[6] = 1.0;
  return found;
}

}  // namespace

struct Network::Impl {
  explicit Impl(torch::jit::Module loaded)
      : module(std::move(loaded)),
        named(named_tensors(*module._ivalue())),
        graph(module),
        table(make_layer_table(graph, named)) {
    auto own = std::make_shared<std::unordered_set<const void*>>();
    for (const NamedTensor& tensor : named) {
      by_name.emplace(tensor.name, tensor.tensor);
      own->insert(storage_of(tensor.tensor));
    }
    storages = std::move(own);
    check_sharing();
  }

  /// Freezing clones the module's objects, not its tensors; set_tensor relies on that.
  void check_sharing() {
    for (const torch::jit::Node* node : graph.graph().nodes()) {
      if (node->kind() != c10::prim::GetAttr) continue;
      const auto found = by_name.find(graph.attribute_path(node->output()).value_or(""));
      const c10::IValue* value = graph.fixed(graph.slot_of(node->output()));
      if (found == by_name.end() || value == nullptr || !value->isTensor()) continue;
      BITFALL_ASSERT(storage_of(value->toTensor()) == storage_of(found->second), found->first);
      slots_of_storage[storage_of(found->second)].push_back(graph.slot_of(node->output()));
    }
  }

  /// The value that a slot has for every image, where passes run; nullptr for a computed one.
  [[nodiscard]] const c10::IValue* fixed(std::size_t slot) const {
    return copy ? copy->fixed(slot) : graph.fixed(slot);
  }

  void refresh_all() {
    for (const NamedTensor& tensor : named)
      if (copy) copy->refresh(tensor.tensor);
  }

  torch::jit::Module module;
  std::vector<NamedTensor> named;
  StepGraph graph;
  LayerTable table;
  std::unordered_map<std::string, at::Tensor> by_name;
  /// Where steps read a parameter or buffer: a tied one has several slots.
  std::unordered_map<const void*, std::vector<std::size_t>> slots_of_storage;
  std::shared_ptr<const std::unordered_set<const void*>> storages;
  std::uint64_t changes = 0;
  std::optional<DeviceCopy> copy;  ///< where passes run on a device
  std::string logits_part;
};

Network::Network(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;
Network::~Network() = default;

Network Network::from_bytes(const std::string& bytes, const std::string& source) {
  const c10::AutoGradMode no_gradients(false);
  torch::jit::Module module = load_module(bytes, source);
  try {
    return Network(std::make_unique<Impl>(std::move(module)));
  } catch (const DataError& error) {
    throw DataError("'" + source + "' can't be used: " + error.what());
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw DataError("'" + source + "' can't be cut into steps: " + essential_line(error));
  }
}

const std::vector<Layer>& Network::layers() const {
  return impl_->table.layers;
}
const std::vector<TensorInfo>& Network::tensors() const {
  return impl_->table.tensors;
}
std::int64_t Network::step_count() const {
  return static_cast<std::int64_t>(impl_->graph.steps().size());
}

std::optional<std::size_t> Network::layer_of_step(std::int64_t step) const {
  return impl_->table.steps.at(static_cast<std::size_t>(step)).layer;
}

const BatchNormStep* Network::batch_norm_of_step(std::int64_t step) const {
  const std::optional<std::size_t> norm = impl_->table.steps.at(static_cast<std::size_t>(step)).norm;
  return norm ? &impl_->table.norms[*norm] : nullptr;
}

const std::vector<std::size_t>& Network::first_uses(std::int64_t step) const {
  return impl_->table.steps.at(static_cast<std::size_t>(step)).first_uses;
}

std::uint64_t Network::changes() const {
  return impl_->changes;
}

bool Network::equals(const Network& other) const {
  return std::all_of(tensors().begin(), tensors().end(), [&](const TensorInfo& info) {
    return at::equal(tensor(info.name), other.tensor(info.name));
  });
}

LiveValues Network::fork(const LiveValues& values) const {
  std::unordered_set<std::size_t> slots;
  for (std::size_t slot = 0; slot < values.slots_.size(); ++slot) slots.insert(slot);
  LiveValues copy = values.copy_of(slots);
  copy.kept_elsewhere_ = impl_->storages;
  return copy;
}

std::vector<at::Tensor> Network::layer_inputs(std::size_t layer, const LiveValues& values) const {
  const std::vector<std::int64_t>& uses = layers().at(layer).steps;
  if (uses.size() == 1 && layer_of_step(uses.front()) == layer) return {step_input(uses.front(), values)};
  std::unordered_set<std::size_t> slots;
  for (std::int64_t step = uses.front(); step <= uses.back(); ++step) {
    const auto& read = impl_->graph.steps().at(static_cast<std::size_t>(step)).inputs;
    slots.insert(read.begin(), read.end());
  }
  LiveValues copy = values.copy_of(slots);
  std::vector<at::Tensor> inputs;
  for (std::int64_t step = uses.front(); step <= uses.back(); ++step) {
    if (layer_of_step(step) == layer) inputs.push_back(step_input(step, copy).clone());
    const InputListener listener;
    run_step(step, copy);
    const StepMeaning& meaning = impl_->table.steps.at(static_cast<std::size_t>(step));
    for (const auto& [place, input] : listener.heard()) {
      for (const auto& [observed, index] : meaning.observed)
        if (observed == place && index == layer) inputs.push_back(input);
    }
  }
  return inputs;
}

std::string Network::describe_step(std::int64_t step) const {
  const torch::jit::Node* node = impl_->graph.steps().at(static_cast<std::size_t>(step)).node;
  std::string text = "step " + std::to_string(step) + " (" + node->kind().toQualString();
  if (const auto layer = layer_of_step(step)) text += ", " + layers()[*layer].name;
  if (const BatchNormStep* norm = batch_norm_of_step(step)) text += ", " + norm->name;
  return text + ")";
}

LiveValues Network::start(at::Tensor input) const {
  const auto& type = impl_->graph.graph().inputs()[1]->type();
  const bool wants_list = takes_list(*type);
  if (!wants_list && !c10::TensorType::get()->isSubtypeOf(*type)) {
    throw DataError("the network's forward takes " + type->str() +
                    ", but bitfall gives one tensor of images or a list of them");
  }
  LiveValues values;
  values.kept_elsewhere_ = impl_->storages;
  values.slots_.resize(impl_->graph.slot_count());
  const at::Tensor there = impl_->copy ? place(input) : std::move(input);
  values.slots_[impl_->graph.input_slot()] = wants_list ? c10::IValue(as_list(there)) : c10::IValue(there);
  return values;
}

LiveValues Network::start(at::Tensor input, const GradientRequest& request) const {
  // Outputs get their gradients through the images, without those of any weight; operators may write to their
  // input, but not to a tensor that gradients are asked of.
  if (!request.outputs.empty()) {
    const c10::AutoGradMode with_gradients(true);
    input = place(input).detach().requires_grad_(true).clone();
  }
  LiveValues values = start(std::move(input));
  for (const std::int64_t step : request.outputs) values.outputs_[step] = at::Tensor();
  values.requested_outputs_ = request.outputs;
  values.gradients_ = true;
  values.train_batch_norms_ = request.train_batch_norms;
  for (const std::string& name : request.tensors) {
    const at::Tensor& host = find(name);
    const at::Tensor leaf = (impl_->copy ? impl_->copy->copy_of(host) : host).detach().requires_grad_(true);
    values.leaves_.push_back(leaf);
    const auto slots = impl_->slots_of_storage.find(storage_of(host));
    if (slots == impl_->slots_of_storage.end()) continue;  // nothing reads it: its gradient is zero
    for (const std::size_t slot : slots->second) values.replaced_[slot] = leaf;
  }
  return values;
}

std::vector<at::Tensor> Network::gradients(const LiveValues& values, const at::Tensor& loss) const {
  BITFALL_ASSERT(values.gradients_, "this pass was started without gradients");
  std::vector<at::Tensor> wanted = values.leaves_;
  for (const std::int64_t step : values.requested_outputs_) {
    wanted.push_back(values.outputs_.at(step));
    BITFALL_ASSERT(wanted.back().defined(), describe_step(step) + " has not run");
  }
  std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss}, wanted, {}, /*retain_graph=*/false, /*create_graph=*/false,
                            /*allow_unused=*/true);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(wanted[i]);
    gradients[i] = gradients[i].detach();
  }
  return gradients;
}

const BatchStatistics& Network::batch_statistics(std::int64_t step, const LiveValues& values) const {
  const auto found = values.statistics_.find(step);
  BITFALL_ASSERT(found != values.statistics_.end(), describe_step(step));
  return found->second;
}

void Network::run_step(std::int64_t index, LiveValues& values) const {
  const c10::AutoGradMode mode(values.gradients_);  // the mode belongs to the thread
  const Step& step = impl_->graph.steps().at(static_cast<std::size_t>(index));
  torch::jit::Stack stack;
  stack.reserve(step.inputs.size());
  for (const std::size_t slot : step.inputs) {
    const c10::IValue* fixed = impl_->fixed(slot);
    const auto replaced = values.replaced_.find(slot);
    if (replaced != values.replaced_.end())
      stack.push_back(replaced->second);
    else
      stack.push_back(fixed != nullptr ? *fixed : values.slots_[slot]);
  }
  if (values.train_batch_norms_ && batch_norm_of_step(index) != nullptr)
    values.statistics_[index] = train_batch_norm(stack);
  // Inputs that end here belong to the stack alone, so that the step may free them before it has finished.
  for (const std::size_t slot : step.last_uses) values.slots_[slot] = c10::IValue();
  try {
    if (step.operation) {
      torch::jit::Operation operation = *step.operation;  // calling one is not const
      operation(stack);
    } else {
      torch::jit::InterpreterState(*step.code).run(stack);
    }
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw_as_ours(error, "the network fails at " + describe_step(index));
  }
  const auto kept = values.outputs_.find(index);
  if (kept != values.outputs_.end()) {
    BITFALL_ASSERT(stack.size() == 1 && stack[0].isTensor(), describe_step(index) + ": one output");
    kept->second = stack[0].toTensor();
    stack[0] = kept->second.clone();  // for steps that write to it
  }
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const std::size_t slot = step.outputs[i];
    const bool used = std::find(step.last_uses.begin(), step.last_uses.end(), slot) == step.last_uses.end();
    if (used) values.slots_[slot] = std::move(stack[i]);
  }
}

at::Tensor Network::step_input(std::int64_t index, const LiveValues& values) const {
  const auto slot = impl_->table.steps.at(static_cast<std::size_t>(index)).input;
  BITFALL_ASSERT(slot.has_value(), describe_step(index) + " is neither a layer nor a batch norm");
  const c10::IValue* fixed = impl_->fixed(*slot);
  const c10::IValue& value = fixed != nullptr ? *fixed : values.slots_.at(*slot);
  BITFALL_ASSERT(value.isTensor(), describe_step(index));
  return value.toTensor();
}

bool Network::is_plain_convolution(std::int64_t index) const {
  return impl_->table.steps.at(static_cast<std::size_t>(index)).bias.has_value();
}

at::Tensor Network::step_output(std::int64_t index, const LiveValues& values) const {
  BITFALL_ASSERT(is_plain_convolution(index), describe_step(index));
  const std::size_t slot = impl_->graph.steps().at(static_cast<std::size_t>(index)).outputs.front();
  const c10::IValue& value = values.slots_.at(slot);
  BITFALL_ASSERT(value.isTensor(), describe_step(index));
  return value.toTensor();
}

at::Tensor Network::convolution_bias(std::int64_t index) const {
  BITFALL_ASSERT(is_plain_convolution(index), describe_step(index));
  const c10::IValue* bias = impl_->fixed(*impl_->table.steps.at(static_cast<std::size_t>(index)).bias);
  return bias->isTensor() ? bias->toTensor() : at::Tensor();
}

bool Network::has_shortcut(std::int64_t index) const {
  return impl_->table.steps.at(static_cast<std::size_t>(index)).sum.has_value();
}

at::Tensor Network::shortcut(std::int64_t index, const LiveValues& values) const {
  const auto& sum = impl_->table.steps.at(static_cast<std::size_t>(index)).sum;
  BITFALL_ASSERT(sum.has_value(), describe_step(index) + " has no shortcut");
  const c10::IValue& value = values.slots_.at(sum->slot);
  BITFALL_ASSERT(value.isTensor(), describe_step(index));
  return value.toTensor();
}

const BatchNormStep* Network::shortcut_norm(std::int64_t index) const {
  const auto& sum = impl_->table.steps.at(static_cast<std::size_t>(index)).sum;
  return sum && sum->norm ? &impl_->table.norms[*sum->norm] : nullptr;
}

c10::IValue Network::result(const LiveValues& values) const {
  const std::size_t slot = impl_->graph.output_slot();
  const c10::IValue* fixed = impl_->fixed(slot);
  return fixed != nullptr ? *fixed : values.slots_.at(slot);
}

at::Tensor Network::output(const LiveValues& values) const {
  return logits_of(result(values), impl_->logits_part);
}

void Network::choose_logits(std::string part) {
  impl_->logits_part = std::move(part);
}

const std::string& Network::logits_part() const {
  return impl_->logits_part;
}

at::Tensor Network::forward(at::Tensor input) const {
  return logits_of(run(std::move(input)), impl_->logits_part);
}

c10::IValue Network::run(at::Tensor input) const {
  LiveValues values = start(std::move(input));
  for (std::int64_t step = 0; step < step_count(); ++step) run_step(step, values);
  return result(values);
}

bool Network::returns_detections() const {
  return holds_detections(*impl_->graph.graph().outputs().front()->type());
}

const at::Tensor& Network::find(const std::string& name) const {
  const auto found = impl_->by_name.find(name);
  if (found == impl_->by_name.end()) throw DataError("the network has no parameter or buffer '" + name + "'");
  return found->second;
}

at::Tensor Network::tensor(const std::string& name) const {
  const at::Tensor& host = find(name);
  if (impl_->copy) impl_->copy->refresh(host);
  return host.detach();
}

void Network::set_tensor(const std::string& name, const at::Tensor& value) {
  const c10::AutoGradMode no_gradients(false);
  const at::Tensor target = find(name).detach();
  if (target.sizes() != value.sizes()) {
    throw DataError("tensor '" + name + "' has the shape " + shape_text(target.sizes()) + ", not " +
                    shape_text(value.sizes()));
  }
  ++impl_->changes;
  if (!value.is_cpu()) {
    BITFALL_ASSERT(impl_->copy.has_value(), name + " set from a device that no pass runs on");
    impl_->copy->outdate(target).copy_(value);
    return;
  }
  if (impl_->copy) impl_->copy->refresh(target);  // a tied tensor may be a part of the storage
  target.copy_(value);
  if (impl_->copy) impl_->copy->follow(target);
}

at::Tensor Network::tensor_to_write(const std::string& name) {
  BITFALL_ASSERT(impl_->copy.has_value(), name + " written on a device that no pass runs on");
  ++impl_->changes;
  return impl_->copy->outdate(find(name).detach());
}

void Network::set_tensor(const std::string& name, std::span<const float> value) {
  const at::Tensor target = tensor(name);
  if (target.numel() != static_cast<std::int64_t>(value.size())) {
    throw DataError("tensor '" + name + "' has " + std::to_string(target.numel()) + " elements, not " +
                    std::to_string(value.size()));
  }
  // from_blob takes a mutable pointer; copy_ only reads it.
  set_tensor(name, at::from_blob(const_cast<float*>(value.data()), target.sizes(), at::kFloat));
}

void Network::use_device(const std::string& device) {
  impl_->refresh_all();
  impl_->copy.reset();
  auto own = std::make_shared<std::unordered_set<const void*>>();
  for (const NamedTensor& tensor : impl_->named) own->insert(storage_of(tensor.tensor));
  if (!device.empty()) {
    impl_->copy.emplace(open_torch_device(device), impl_->graph, impl_->named);
    for (const NamedTensor& tensor : impl_->named)
      if (tensor.tensor.has_storage()) own->insert(storage_of(impl_->copy->copy_of(tensor.tensor)));
  }
  impl_->storages = std::move(own);
}

bool Network::on_device() const {
  return impl_->copy.has_value();
}

at::Tensor Network::place(const at::Tensor& value) const {
  return impl_->copy ? value.to(impl_->copy->device()) : value;
}

std::string Network::save() const {
  impl_->refresh_all();
  return save_module(impl_->module);
}
std::string Network::save_without_weights() const {
  return save_module_without_weights(impl_->module);
}

}  // namespace bitfall
