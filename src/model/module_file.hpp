#pragma once
/// TorchScript modules from bytes and back.
#include <torch/csrc/jit/api/module.h>

#include <string>

namespace bitfall {

/// Loads a module on the CPU and puts it into eval mode. Tensors that a file without weights shares as one
/// zero get storage of their own, so that they can be written. Throws DataError naming `source`.
[[nodiscard]] torch::jit::Module load_module(const std::string& bytes, const std::string& source);

/// As torch.jit.save writes it.
[[nodiscard]] std::string save_module(const torch::jit::Module& module);

/// The module with each parameter and buffer replaced by a single zero seen under the same shape (strides 0),
/// without source-code debug records, no entry compressed: the headers and the code of such a file repeat
/// themselves, so deflating it as a whole gives about a tenth, where a zip of deflated entries would not
/// shrink. Tensors inside lists and dictionaries are neither parameters nor buffers: they stay. The bytes
/// are a pure function of the module.
[[nodiscard]] std::string save_module_without_weights(const torch::jit::Module& module);

}  // namespace bitfall
