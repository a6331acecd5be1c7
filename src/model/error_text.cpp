#include "model/error_text.hpp"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

/// The line that a person would quote: that of the innermost error of a TorchScript traceback
/// ("RuntimeError: ..."), or the first one.
std::string_view chosen_line(std::string_view text) {
  std::string_view first;
  std::string_view innermost;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (first.empty()) first = line;
    const std::size_t colon = line.find("Error: ");
    if (colon != std::string_view::npos && line.find(' ') > colon) innermost = line.substr(colon + 7);
  }
  return innermost.empty() ? first : innermost;
}

}  // namespace

std::string essential_line(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  std::string_view line = chosen_line(text);
  if (line.starts_with("[enforce fail at")) {  // "[enforce fail at file.cc:12] . message"
    const std::size_t end = line.find("] ");
    if (end != std::string_view::npos) line = trimmed(line.substr(end + 2));
    while (line.starts_with('.')) line = trimmed(line.substr(1));
  }
  for (const std::string_view noise : {"This is an internal miniz error",
                                       "(Could this error message be improved?", "This op may not exist"}) {
    line = trimmed(line.substr(0, line.find(noise)));
  }
  while (line.ends_with('.')) line.remove_suffix(1);
  return line.empty() ? "unknown error" : std::string(line);
}

void throw_as_ours(const std::exception& error, const std::string& where) {
  const std::string_view text = error.what();
  const auto says = [&](std::string_view words) { return text.find(words) != std::string_view::npos; };
  if (says("can't allocate memory")) throw std::bad_alloc();
  if (says("CUDA out of memory"))
    throw ClusterError(where + ": the device's memory is full (" + essential_line(error) +
                       "); use more ranks, fewer images, smaller micro-batches or --device cpu");
  if (says("CUDA error") || says("cuDNN error") || says("CUDNN_STATUS") || says("CUBLAS_STATUS"))
    throw ClusterError(where + ": the device failed: " + essential_line(error));
  throw DataError(where + ": " + essential_line(error));
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace bitfall
