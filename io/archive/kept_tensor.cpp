/// Kept tensors in half the bytes, and back.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// numpy's and PyTorch's names.
constexpr std::array<std::pair<std::string_view, std::int64_t>, 12> known_dtypes = {{{"float32", 4},
                                                                                     {"float16", 2},
                                                                                     {"bfloat16", 2},
                                                                                     {"float64", 8},
                                                                                     {"int64", 8},
                                                                                     {"int32", 4},
                                                                                     {"int16", 2},
                                                                                     {"int8", 1},
                                                                                     {"uint8", 1},
                                                                                     {"bool", 1},
                                                                                     {"complex64", 8},
                                                                                     {"complex128", 16}}};

}  // namespace

std::int64_t dtype_bytes(const std::string& dtype) {
  std::string names;
  for (const auto& [name, bytes] : known_dtypes) {
    if (name == dtype) return bytes;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw DataError("unknown element type '" + dtype + "'; known are " + names);
}

bool is_constant(const KeptTensor& tensor) {
  const auto element = static_cast<std::size_t>(dtype_bytes(tensor.stored_dtype));
  const std::size_t size = tensor.bytes.size();
  return size >= 2 * element && std::equal(tensor.bytes.begin() + static_cast<std::ptrdiff_t>(element),
                                           tensor.bytes.end(), tensor.bytes.begin());
}

bool compact_to_half(KeptTensor& tensor) {
  if (tensor.dtype != "float32" || tensor.stored_dtype != "float32") return false;
  std::vector<std::uint8_t> halves(tensor.bytes.size() / 2);
  for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(float); ++i) {
    float value = 0;
    std::memcpy(&value, &tensor.bytes[i * sizeof(float)], sizeof value);
    const std::uint16_t half = float_to_half(value);
    if (std::isfinite(value) && !std::isfinite(half_to_float(half))) return false;
    std::memcpy(&halves[i * sizeof half], &half, sizeof half);
  }
  tensor.bytes = std::move(halves);
  tensor.stored_dtype = "float16";
  return true;
}

KeptTensor expand_from_half(const KeptTensor& tensor) {
  if (tensor.stored_dtype == tensor.dtype) return tensor;
  BITFALL_ASSERT(tensor.dtype == "float32" && tensor.stored_dtype == "float16", tensor.name);
  KeptTensor wide{tensor.name, tensor.dtype, tensor.shape, tensor.dtype, {}};
  wide.bytes.resize(tensor.bytes.size() * 2);
  for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(std::uint16_t); ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, &tensor.bytes[i * sizeof half], sizeof half);
    const float value = half_to_float(half);
    std::memcpy(&wide.bytes[i * sizeof value], &value, sizeof value);
  }
  return wide;
}

}  // namespace bitfall
