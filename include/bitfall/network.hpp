#pragma once
/// A TorchScript network that runs step by step.
///
/// A step is one top-level node of the frozen, inlined graph. Running all steps gives bit for bit the outputs
/// of the ordinary forward in eval mode.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bitfall/layer.hpp"

namespace bitfall {

/// A batch norm that a step computes; names are qualified buffer/parameter names.
struct BatchNormStep {
  std::string name;  ///< module path, e.g. "layer1.0.bn1"
  std::string running_mean, running_variance;
  std::string scale, shift;  ///< gamma and beta; empty when the module has none
  double epsilon = 0;
  bool foldable = false;  ///< affine, and its four tensors are used in no other way
};

/// What a pass asks for whose gradients are wanted.
struct GradientRequest {
  std::vector<std::string> tensors;  ///< qualified names of the parameters
  /// Batch norms normalise by the micro-batch's own statistics, as in training; else by the running ones.
  bool train_batch_norms = false;
  /// Steps with one output of which the gradient is wanted too, as it leaves the step.
  std::vector<std::int64_t> outputs;
};

/// What a batch norm found in one micro-batch in training, [channels] each; the variance is unbiased.
struct BatchStatistics {
  at::Tensor mean, variance;
  std::int64_t values = 0;  ///< of one channel: images * positions
};

/// The values alive between two steps, for one micro-batch. Move-only in spirit; owned by the walk.
class LiveValues {
 public:
  LiveValues() = default;
  /// Bytes of the live tensors' distinct storages (parameters excluded).
  [[nodiscard]] std::int64_t bytes() const;

 private:
  friend class Network;
  /// With copies of the values of some slots and nothing in the others: what steps write to the copies stays
  /// there. Tensors that share a storage go on sharing one.
  [[nodiscard]] LiveValues copy_of(const std::unordered_set<std::size_t>& slots) const;

  std::vector<c10::IValue> slots_;
  std::shared_ptr<const std::unordered_set<const void*>> kept_elsewhere_;  ///< storages of the network's own
  // Of a pass with gradients only:
  bool gradients_ = false, train_batch_norms_ = false;
  std::vector<at::Tensor> leaves_;  ///< in the request's order; each shares storage with its parameter
  std::unordered_map<std::size_t, c10::IValue> replaced_;  ///< by slot: the leaf instead of the parameter
  std::unordered_map<std::int64_t, BatchStatistics> statistics_;  ///< by step
  std::unordered_map<std::int64_t, at::Tensor> outputs_;          ///< by step: those asked for
  std::vector<std::int64_t> requested_outputs_;
};

class Network {
 public:
  /// From the bytes of a `torch.jit.save` file; `source` (a path) names it in errors.
  /// Throws DataError when the bytes are not TorchScript, an operator is unknown, or a parameter is NaN or
  /// infinite.
  static Network from_bytes(const std::string& bytes, const std::string& source);
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;
  ~Network();

  /// All convolution and linear weights in the order in which the steps use them.
  [[nodiscard]] const std::vector<Layer>& layers() const;
  /// All parameters and buffers in state-dict order.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const;

  [[nodiscard]] std::int64_t step_count() const;
  /// The index into layers() of the layer that step computes, if it does.
  [[nodiscard]] std::optional<std::size_t> layer_of_step(std::int64_t step) const;
  [[nodiscard]] const BatchNormStep* batch_norm_of_step(std::int64_t step) const;
  /// Indices into layers() of the layers that the step computes, or that run inside it (a loop or a branch),
  /// and that no step before it uses; ascending.
  [[nodiscard]] const std::vector<std::size_t>& first_uses(std::int64_t step) const;
  /// Short text for errors: "step 12 (aten::conv2d, layer1.0.conv2)".
  [[nodiscard]] std::string describe_step(std::int64_t step) const;

  /// How often set_tensor has been called.
  [[nodiscard]] std::uint64_t changes() const;
  /// Whether all parameters and buffers have the same values; `other` is of the same module.
  [[nodiscard]] bool equals(const Network& other) const;
  /// A copy of the values, which an equal network has made, for this one to go on with.
  [[nodiscard]] LiveValues fork(const LiveValues& values) const;

  /// Begins a micro-batch. `input` is [N, C, H, W] float32; a network whose forward takes a list of images
  /// (torchvision's detectors) gets its N images as a list.
  [[nodiscard]] LiveValues start(at::Tensor input) const;
  /// Runs one step and drops values after their last use. Safe to call from several threads on different
  /// values.
  void run_step(std::int64_t step, LiveValues& values) const;
  /// The tensor that a layer or batch-norm step will read.
  [[nodiscard]] at::Tensor step_input(std::int64_t step, const LiveValues& values) const;
  /// Before the first step that uses a layer: what the layer will read, one tensor for each time that it runs
  /// in this or a later step. Where it runs more than once, found by running the steps from its first use to
  /// its last on a copy of the values that they use.
  [[nodiscard]] std::vector<at::Tensor> layer_inputs(std::size_t layer, const LiveValues& values) const;
  /// Whether the step computes a convolution over two dimensions, of one group, that no other step computes:
  /// its output is W x + bias, x the unfolded input.
  [[nodiscard]] bool is_plain_convolution(std::int64_t step) const;
  /// Of such a step: its output, after it has run and before the next one runs.
  [[nodiscard]] at::Tensor step_output(std::int64_t step, const LiveValues& values) const;
  /// Of such a step: [rows], where passes run; undefined when it has none.
  [[nodiscard]] at::Tensor convolution_bias(std::int64_t step) const;
  /// Whether the output of the layer that the step computes goes, through a batch norm at most, into a sum
  /// whose other addend is there before the step runs: a residual block with an identity shortcut.
  [[nodiscard]] bool has_shortcut(std::int64_t step) const;
  /// That addend.
  [[nodiscard]] at::Tensor shortcut(std::int64_t step, const LiveValues& values) const;
  /// The batch norm between the layer and the sum; nullptr when there is none.
  [[nodiscard]] const BatchNormStep* shortcut_norm(std::int64_t step) const;
  /// After the last step: the network's logits, [N, classes]. Throws DataError for other outputs.
  [[nodiscard]] at::Tensor output(const LiveValues& values) const;
  /// After the last step: whatever the forward returns.
  [[nodiscard]] c10::IValue result(const LiveValues& values) const;
  /// Which part of a dictionary (its key) or tuple (its place, or its field's name) the logits are. Empty, as
  /// at first: a tuple's first part, a dictionary's "out" or "logits".
  void choose_logits(std::string part);
  [[nodiscard]] const std::string& logits_part() const;
  /// Begins a micro-batch whose gradients are wanted. Parameters are shared, gradients are not: several
  /// threads may run passes at once as long as none changes a parameter.
  [[nodiscard]] LiveValues start(at::Tensor input, const GradientRequest& request) const;
  /// d(loss)/d(tensor) for each tensor of the request, then for each of its outputs, in its order; zeros
  /// where the loss does not depend on it. Once, after the last step.
  [[nodiscard]] std::vector<at::Tensor> gradients(const LiveValues& values, const at::Tensor& loss) const;
  /// The statistics that a batch-norm step of a pass with `train_batch_norms` has used; after that step.
  [[nodiscard]] const BatchStatistics& batch_statistics(std::int64_t step, const LiveValues& values) const;
  /// start + all steps + output.
  [[nodiscard]] at::Tensor forward(at::Tensor input) const;
  /// start + all steps + result.
  [[nodiscard]] c10::IValue run(at::Tensor input) const;
  /// Whether what it returns are boxes with scores and labels (src/model/detections.hpp).
  [[nodiscard]] bool returns_detections() const;

  /// A parameter or buffer by qualified name (shares storage with the network; to change it, set_tensor).
  [[nodiscard]] at::Tensor tensor(const std::string& name) const;
  /// Overwrites it in place; sizes must match. `value` may lie where passes run: the host's copy is then made
  /// when somebody asks for it.
  void set_tensor(const std::string& name, const at::Tensor& value);
  void set_tensor(const std::string& name, std::span<const float> value);
  /// The copy on the device that passes read, for somebody who writes all of it before the next pass: the
  /// host's is old from now on. Passes must run on a device.
  [[nodiscard]] at::Tensor tensor_to_write(const std::string& name);

  /// From now on passes run on this device of LibTorch ("cuda:0"), on copies of all tensors; inputs travel
  /// there, values between steps, outputs and gradients are there. tensor() stays on the host. "": on the
  /// host, without copies, as at first. Throws ClusterError when LibTorch can't use the device, DataError
  /// when the network reads parameters inside control flow.
  void use_device(const std::string& device);
  /// Whether passes run on such copies: one thread then is enough to keep the device busy.
  [[nodiscard]] bool on_device() const;
  /// `value` where passes run: itself, if it is there.
  [[nodiscard]] at::Tensor place(const at::Tensor& value) const;

  /// The module with its current values, as `torch.jit.save` writes it.
  [[nodiscard]] std::string save() const;
  /// The same module with every tensor's data replaced by one shared zero (shapes are kept): a few tens of
  /// kilobytes that describe the network. from_bytes + set_tensor of every tensor restores the network.
  [[nodiscard]] std::string save_without_weights() const;

 private:
  struct Impl;
  [[nodiscard]] const at::Tensor& find(const std::string& name) const;
  explicit Network(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bitfall
