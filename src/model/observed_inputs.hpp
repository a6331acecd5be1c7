#pragma once
/// Layers inside loops and branches report their inputs while somebody listens.
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace bitfall {

/// Puts an operator before `node` that reports `input` under the number `place` and computes nothing.
void insert_observation(torch::jit::Node* node, torch::jit::Value* input, std::int64_t place);

/// While it lives, what runs on this thread reports to it.
class InputListener {
 public:
  InputListener();
  ~InputListener();
  InputListener(const InputListener&) = delete;
  InputListener& operator=(const InputListener&) = delete;
  /// (place, input) in the order in which they ran.
  [[nodiscard]] const std::vector<std::pair<std::int64_t, at::Tensor>>& heard() const { return heard_; }
  void hear(std::int64_t place, const at::Tensor& input);

 private:
  InputListener* before_;
  std::vector<std::pair<std::int64_t, at::Tensor>> heard_;
};

}  // namespace bitfall
