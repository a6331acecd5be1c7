#include "check.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "bitfall/errors.hpp"

namespace bitfall {

void require(bool condition, const std::string& what) {
  if (!condition) throw DataError(what);
}

namespace {

void check_name(const std::string& name, const std::string& what) {
  require(!name.empty(), what + " has an empty name");
  require(std::cmp_less_equal(name.size(), most_name_bytes), what + " '" + name.substr(0, 40) +
                                                                 "...' has a name of more than " +
                                                                 std::to_string(most_name_bytes) + " bytes");
  const std::size_t zero = name.find('\0');
  require(zero == std::string::npos, what + " '" + name.substr(0, zero) + "...' has a zero byte in its name");
}

void check_layer(const QuantizedLayer& layer) {
  const std::int64_t blocks = checked_blocks(layer);
  const std::string what = "layer '" + layer.name + "'";
  require(std::cmp_equal(layer.codes.size(), blocks), what + " has " + std::to_string(layer.codes.size()) +
                                                          " codes where its shape needs " +
                                                          std::to_string(blocks));
  require(layer.codebook.size() % static_cast<std::size_t>(layer.d) == 0 &&
              std::cmp_equal(layer.codebook.size() / static_cast<std::size_t>(layer.d), layer.k),
          what + " has a codebook of " + std::to_string(layer.codebook.size()) + " values for k " +
              std::to_string(layer.k) + " and d " + std::to_string(layer.d));
  const auto largest = std::max_element(layer.codes.begin(), layer.codes.end());
  require(largest == layer.codes.end() || *largest < layer.k,
          what + " has code " + std::to_string(largest == layer.codes.end() ? 0 : *largest) + " but only " +
              std::to_string(layer.k) + " codewords");
  // All exponent bits set: infinity or NaN.
  require(std::none_of(layer.codebook.begin(), layer.codebook.end(),
                       [](std::uint16_t half) { return (half & 0x7c00u) == 0x7c00u; }),
          what + " has a codeword that is infinite or NaN");
  if (layer.codebook_scale != 0) {
    try {
      (void)codebook_integers(layer.codebook, layer.d, layer.codebook_scale);
    } catch (const DataError& error) {
      throw DataError(what + ": " + error.what());
    }
  }
}

void check_kept(const KeptTensor& tensor) {
  const std::string what = "tensor '" + tensor.name + "'";
  require(
      tensor.stored_dtype == tensor.dtype || (tensor.dtype == "float32" && tensor.stored_dtype == "float16"),
      what + " of type " + tensor.dtype + " can't be stored as " + tensor.stored_dtype);
  const std::int64_t elements = checked_elements(tensor.shape, 0, what);
  std::int64_t element_bytes = 0;
  try {
    element_bytes = dtype_bytes(tensor.stored_dtype);
  } catch (const DataError& error) {
    throw DataError(what + ": " + error.what());
  }
  const auto bytes = static_cast<std::int64_t>(tensor.bytes.size());
  require(bytes % element_bytes == 0 && bytes / element_bytes == elements,
          what + " has " + std::to_string(bytes) + " bytes where its shape needs " +
              std::to_string(elements) + " elements of " + std::to_string(element_bytes));
}

}  // namespace

std::int64_t checked_elements(std::span<const std::int64_t> shape, std::int64_t least,
                              const std::string& what) {
  require(std::cmp_less_equal(shape.size(), most_dimensions),
          what + " has more than " + std::to_string(most_dimensions) + " dimensions");
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {
    require(size >= least, what + " has a dimension of size " + std::to_string(size));
    require(size == 0 || elements <= (std::int64_t{1} << 62) / size, what + " has an impossibly large shape");
    elements *= size;
  }
  return elements;
}

std::int64_t checked_blocks(const QuantizedLayer& layer) {
  const std::string what = "layer '" + layer.name + "'";
  require(!layer.weight_shape.empty(), what + " has a weight without dimensions");
  const std::int64_t elements = checked_elements(layer.weight_shape, 1, what);
  const std::int64_t columns = elements / layer.weight_shape.front();
  require(layer.d >= 1 && columns % layer.d == 0, what + ": d " + std::to_string(layer.d) +
                                                      " does not divide its " + std::to_string(columns) +
                                                      " columns");
  require(layer.k >= 1 && layer.k <= 65536,
          what + " has k " + std::to_string(layer.k) + ", possible are 1 to 65536");
  require(layer.groups >= 1 && layer.weight_shape.front() % layer.groups == 0,
          what + " has " + std::to_string(layer.groups) + " groups for its " +
              std::to_string(layer.weight_shape.front()) + " rows");
  return elements / layer.d;
}

void check_archive(const Archive& archive) {
  std::set<std::string> layers;
  std::set<std::string> tensors;
  for (const QuantizedLayer& layer : archive.layers) {
    check_name(layer.name, "a layer");
    check_name(layer.weight_name, "the weight of layer '" + layer.name + "'");
    require(layers.insert(layer.name).second, "layer '" + layer.name + "' occurs twice");
    require(tensors.insert(layer.weight_name).second, "tensor '" + layer.weight_name + "' occurs twice");
    check_layer(layer);
  }
  for (const KeptTensor& tensor : archive.kept) {
    check_name(tensor.name, "a kept tensor");
    require(tensors.insert(tensor.name).second, "tensor '" + tensor.name + "' occurs twice");
    check_kept(tensor);
  }
}

}  // namespace bitfall
