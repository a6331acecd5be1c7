#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"

using namespace bitfall;

namespace {

KeptTensor tensor_of(const std::vector<float>& values) {
  KeptTensor tensor{"t", "float32", {static_cast<std::int64_t>(values.size())}, "float32", {}};
  tensor.bytes.resize(values.size() * sizeof(float));
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

std::vector<float> values_of(const KeptTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace

TEST_CASE("a tensor in half the bytes has rounded values and its own type again after expansion") {
  KeptTensor tensor = tensor_of({1.0F, -0.1F, 65504.0F, 1e-9F, std::numeric_limits<float>::infinity()});
  REQUIRE(compact_to_half(tensor));
  CHECK(tensor.dtype == "float32");
  CHECK(tensor.stored_dtype == "float16");
  CHECK(tensor.bytes.size() == 10);
  const KeptTensor wide = expand_from_half(tensor);
  CHECK(wide.stored_dtype == "float32");
  CHECK(values_of(wide) ==
        std::vector<float>{1.0F, -0.0999755859375F, 65504.0F, 0.0F, std::numeric_limits<float>::infinity()});
  CHECK_FALSE(compact_to_half(tensor));  // already
  CHECK(tensor.bytes.size() == 10);
}

TEST_CASE("a tensor whose values do not fit fp16, or of another type, stays as it is") {
  KeptTensor large = tensor_of({1.0F, 70000.0F});
  CHECK_FALSE(compact_to_half(large));
  CHECK(large.stored_dtype == "float32");
  CHECK(values_of(large) == std::vector<float>{1.0F, 70000.0F});
  CHECK(expand_from_half(large).bytes == large.bytes);
  KeptTensor integers{"i", "int32", {1}, "int32", {1, 2, 3, 4}};
  CHECK_FALSE(compact_to_half(integers));
  CHECK(integers.bytes == std::vector<std::uint8_t>{1, 2, 3, 4});
}

TEST_CASE("element sizes are known by name") {
  CHECK(dtype_bytes("bool") == 1);
  CHECK(dtype_bytes("bfloat16") == 2);
  CHECK(dtype_bytes("int64") == 8);
  CHECK_THROWS_AS(dtype_bytes("float"), DataError);
}
