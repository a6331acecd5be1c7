#pragma once
#include <ATen/core/Tensor.h>

#include <exception>
#include <string>

namespace bitfall {

/// What a LibTorch exception says, as one sentence: no backtrace, no TorchScript traceback, no file of
/// LibTorch's own sources, no closing full stop.
[[nodiscard]] std::string essential_line(const std::exception& error);

/// Throws what a LibTorch exception means: std::bad_alloc where the host's memory ends, ClusterError where
/// the device's does or the device itself has failed, DataError for everything else, which comes from a
/// network and images that don't fit each other. `where` begins the message.
[[noreturn]] void throw_as_ours(const std::exception& error, const std::string& where);

/// "[2, 3, 224, 224]"
[[nodiscard]] std::string shape_text(at::IntArrayRef shape);

}  // namespace bitfall
