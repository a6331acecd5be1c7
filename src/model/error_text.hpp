#pragma once
#include <exception>
#include <string>

namespace bitfall {

/// What a LibTorch exception says, as one sentence: no backtrace, no TorchScript traceback, no file of
/// LibTorch's own sources, no closing full stop.
[[nodiscard]] std::string essential_line(const std::exception& error);

}  // namespace bitfall
