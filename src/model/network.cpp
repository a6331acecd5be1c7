#include "bitfall/network.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "bitfall/errors.hpp"
#include "model/layer_table.hpp"
#include "model/step_graph.hpp"

namespace bitfall {

struct Network::Impl {
  torch::jit::Module module;
  StepGraph graph;
  LayerTable table;
  std::vector<TensorInfo> tensors;
  std::map<std::string, at::Tensor> by_name;

  explicit Impl(torch::jit::Module loaded)
      : module(std::move(loaded)),
        graph(module),
        table(make_layer_table(graph)),
        tensors(list_tensors(module, table)) {
    for (const auto& item : module.named_parameters()) by_name[item.name] = item.value;
    for (const auto& item : module.named_buffers()) by_name[item.name] = item.value;
  }
};

namespace {

/// The first line of a library's message that says something; backtraces and source listings stay out.
std::string essence(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::istringstream lines(torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.empty()) break;
  }
  return line;
}

/// Tensors of a weightless file have one element of storage; here each gets its own memory.
void materialise(const torch::jit::Module& module) {
  const auto own = [](at::Tensor tensor) {
    if (!tensor.is_contiguous()) tensor.set_data(tensor.clone(at::MemoryFormat::Contiguous));
  };
  for (const auto& tensor : module.parameters()) own(tensor);
  for (const auto& tensor : module.buffers()) own(tensor);
}

void require_finite(const std::map<std::string, at::Tensor>& tensors, const std::string& source) {
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point() || at::isfinite(tensor).all().item<bool>()) continue;
    throw DataError(source + ": the tensor '" + name + "' has a NaN or an infinity; the network can't be used");
  }
}

}  // namespace

std::int64_t LiveValues::bytes() const {
  std::set<const void*> seen;
  std::int64_t bytes = 0;
  for (const c10::IValue& value : slots_) {
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    const c10::Storage& storage = value.toTensor().storage();
    if (seen.insert(storage.unsafeGetStorageImpl()).second) bytes += static_cast<std::int64_t>(storage.nbytes());
  }
  return bytes;
}

Network::Network(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;
Network::~Network() = default;

Network Network::from_bytes(const std::string& bytes, const std::string& source) {
  const at::NoGradGuard no_grad;
  try {
    std::istringstream stream(bytes);
    torch::jit::Module module = torch::jit::load(stream);
    if (!module.find_method("forward")) throw DataError("it has no method 'forward'");
    module.eval();
    materialise(module);
    Network network(std::make_unique<Impl>(std::move(module)));
    require_finite(network.impl_->by_name, source);
    return network;
  } catch (const DataError& error) {
    const std::string text = error.what();
    throw DataError(text.rfind(source, 0) == 0 ? text : source + ": " + text);
  } catch (const std::exception& error) {
    throw DataError(source + " is not a TorchScript network that can be loaded (make one with "
                    "torch.jit.script(model).save): " + essence(error));
  }
}

const std::vector<Layer>& Network::layers() const { return impl_->table.layers; }
const std::vector<TensorInfo>& Network::tensors() const { return impl_->tensors; }
std::int64_t Network::step_count() const { return static_cast<std::int64_t>(impl_->graph.steps().size()); }

std::optional<std::size_t> Network::layer_of_step(std::int64_t step) const {
  return impl_->table.layer_of_step.at(static_cast<std::size_t>(step));
}

const BatchNormStep* Network::batch_norm_of_step(std::int64_t step) const {
  const auto& norm = impl_->table.norm_of_step.at(static_cast<std::size_t>(step));
  return norm ? &*norm : nullptr;
}

std::string Network::describe_step(std::int64_t step) const {
  std::string text = "step " + std::to_string(step) + " (" +
                     impl_->graph.steps().at(static_cast<std::size_t>(step)).node->kind().toQualString();
  if (const auto layer = layer_of_step(step)) text += ", " + layers().at(*layer).name;
  if (const BatchNormStep* norm = batch_norm_of_step(step)) text += ", " + norm->name;
  return text + ")";
}

LiveValues Network::start(at::Tensor input) const {
  LiveValues values;
  values.slots_.resize(impl_->graph.slot_count());
  values.slots_[impl_->graph.input_slot()] = std::move(input);
  return values;
}

void Network::run_step(std::int64_t index, LiveValues& values) const {
  const Step& step = impl_->graph.steps()[static_cast<std::size_t>(index)];
  torch::jit::Stack stack;
  stack.reserve(step.inputs.size());
  for (const std::size_t slot : step.inputs) {
    const c10::IValue* fixed = impl_->graph.fixed(slot);
    stack.push_back(fixed != nullptr ? *fixed : values.slots_[slot]);
  }
  // Inputs that end here are given away, so that the step may free them before it has finished.
  for (const std::size_t slot : step.last_uses) values.slots_[slot] = c10::IValue();
  if (step.operation) {
    torch::jit::Operation operation = *step.operation;  // calling one is not const
    operation(stack);
  } else {
    torch::jit::InterpreterState(*step.code).run(stack);
  }
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const std::size_t slot = step.outputs[i];
    if (std::find(step.last_uses.begin(), step.last_uses.end(), slot) == step.last_uses.end())
      values.slots_[slot] = std::move(stack[i]);
  }
}

at::Tensor Network::step_input(std::int64_t index, const LiveValues& values) const {
  const Step& step = impl_->graph.steps().at(static_cast<std::size_t>(index));
  const c10::IValue& value = values.slots_.at(impl_->graph.slot_of(step.node->input(0)));
  BITFALL_ASSERT(value.isTensor(), describe_step(index));
  return value.toTensor();
}

at::Tensor Network::output(const LiveValues& values) const {
  const c10::IValue& value = values.slots_.at(impl_->graph.output_slot());
  if (!value.isTensor()) {
    throw DataError("the network returns " + value.tagKind() + "; bitfall needs one tensor of logits");
  }
  return value.toTensor();
}

at::Tensor Network::forward(at::Tensor input) const {
  LiveValues values = start(std::move(input));
  for (std::int64_t step = 0; step < step_count(); ++step) run_step(step, values);
  return output(values);
}

at::Tensor Network::tensor(const std::string& name) const {
  const auto found = impl_->by_name.find(name);
  if (found == impl_->by_name.end()) throw DataError("the network has no tensor '" + name + "'");
  return found->second.detach();
}

void Network::set_tensor(const std::string& name, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  at::Tensor target = tensor(name);
  if (target.sizes() != value.sizes()) {
    throw DataError("tensor '" + name + "' has another shape than what it should be set to");
  }
  target.copy_(value);
}

void Network::set_tensor(const std::string& name, std::span<const float> value) {
  const at::NoGradGuard no_grad;
  at::Tensor target = tensor(name);
  if (target.numel() != static_cast<std::int64_t>(value.size())) {
    throw DataError("tensor '" + name + "' has " + std::to_string(target.numel()) + " elements, not " +
                    std::to_string(value.size()));
  }
  // from_blob wants a mutable pointer and only reads.
  target.copy_(at::from_blob(const_cast<float*>(value.data()), target.sizes(), at::TensorOptions().dtype(at::kFloat)));
}

std::string Network::save() const {
  std::ostringstream stream;
  impl_->module.save(stream);
  return stream.str();
}

std::string Network::save_without_weights() const {
  const at::NoGradGuard no_grad;
  const torch::jit::Module copy = impl_->module.deepcopy();
  std::map<at::ScalarType, at::Tensor> zeros;
  const auto empty = [&](at::Tensor tensor) {
    const auto type = tensor.scalar_type();
    if (!zeros.contains(type)) zeros[type] = at::zeros({1}, at::TensorOptions().dtype(type));
    // Stride 0 in every dimension: the shape is kept, one element is stored. A scalar keeps its own.
    tensor.set_data(tensor.dim() == 0 ? at::zeros({}, at::TensorOptions().dtype(type)) : zeros[type].expand(tensor.sizes()));
  };
  for (const auto& tensor : copy.parameters()) empty(tensor);
  for (const auto& tensor : copy.buffers()) empty(tensor);
  std::ostringstream stream;
  copy.save(stream);
  return stream.str();
}

}  // namespace bitfall
