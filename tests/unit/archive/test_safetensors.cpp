// The safetensors files: read back by us, read by Python's safetensors, and refused when they are damaged.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/safetensors.hpp"
#include "io/files/file.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

std::vector<KeptTensor> sample_tensors() {
  std::vector<KeptTensor> tensors = sample_archive().kept;
  tensors.push_back({"quote\" größe", "float64", {1}, "float64", {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}});
  tensors.push_back({"small", "int8", {2, 1}, "int8", {0xff, 3}});
  return tensors;
}

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t bytes = header.size();
  std::string file(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  return file + header + data;
}

constexpr const char* python_check = R"(
import sys
from safetensors import safe_open
from safetensors.numpy import load_file
import numpy
tensors = load_file(sys.argv[1])
with open(sys.argv[2], 'rb') as file:
    for line in file.read().decode().splitlines():
        name, dtype, shape, data = line.split('\t')
        found = tensors.pop(name)
        assert str(found.dtype) == dtype, (name, found.dtype)
        assert str(list(found.shape)) == shape, (name, found.shape)
        assert found.tobytes().hex() == data, name
assert not tensors, list(tensors)
with safe_open(sys.argv[1], 'numpy') as file:
    assert file.metadata() == {'format': 'pt', 'made by': 'bitfall'}, file.metadata()
)";

/// A line with name, type, shape and the bytes in hexadecimal.
std::string line_of(const KeptTensor& tensor) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text = tensor.name + '\t' + tensor.dtype + "\t[";
  for (std::size_t i = 0; i < tensor.shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
  text += "]\t";
  for (const std::uint8_t byte : tensor.bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text + '\n';
}

}  // namespace

TEST_CASE("safetensors are read back: names, types, shapes, bytes, metadata") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  const std::vector<KeptTensor> tensors = sample_tensors();
  write_safetensors(path, tensors, {{"format", "pt"}});
  const SafetensorsFile read = read_safetensors(path);
  CHECK(read.metadata == std::map<std::string, std::string>{{"format", "pt"}});
  REQUIRE(read.tensors.size() == tensors.size());
  for (const KeptTensor& tensor : tensors) {
    const KeptTensor wide = expand_from_half(tensor);
    const auto found = std::find_if(read.tensors.begin(), read.tensors.end(),
                                    [&](const KeptTensor& t) { return t.name == tensor.name; });
    REQUIRE(found != read.tensors.end());
    CHECK(found->dtype == wide.dtype);
    CHECK(found->shape == wide.shape);
    CHECK(found->bytes == wide.bytes);
  }
}

TEST_CASE("Python's safetensors reads the same values") {
  const std::string python = python_with("safetensors, numpy");
  if (python.empty()) return;
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  write_safetensors(path, sample_tensors(), {{"format", "pt"}, {"made by", "bitfall"}});
  std::string lines;
  for (const KeptTensor& tensor : sample_tensors()) lines += line_of(expand_from_half(tensor));
  write_bytes(folder / "expected", lines);
  write_bytes(folder / "check.py", python_check);
  const std::string command = "'" + python + "' '" + (folder / "check.py").string() + "' '" + path + "' '" +
                              (folder / "expected").string() + "'";
  CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("what safetensors can't hold is refused before anything is written") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  const KeptTensor byte{"a", "uint8", {1}, "uint8", {1}};
  const auto renamed = [&](const std::string& name) {
    KeptTensor tensor = byte;
    tensor.name = name;
    return tensor;
  };
  CHECK_THROWS_AS(write_safetensors(path, {byte, byte}, {}), DataError);
  CHECK_THROWS_AS(write_safetensors(path, {renamed("__metadata__")}, {}), DataError);
  CHECK_THROWS_AS(write_safetensors(path, {renamed("caf\xe9")}, {}), DataError);  // not UTF-8
  KeptTensor wrong = byte;
  wrong.shape = {2};
  CHECK_THROWS_AS(write_safetensors(path, {wrong}, {}), DataError);
  const KeptTensor complex{"c", "complex128", {1}, "complex128", std::vector<std::uint8_t>(16)};
  CHECK_THROWS_AS(write_safetensors(path, {complex}, {}), DataError);
  CHECK(folder.names().empty());
}

TEST_CASE("damaged safetensors are refused and named") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  const std::string good = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  write_bytes(path, file_of(good, "xy"));
  CHECK(read_safetensors(path).tensors.at(0).bytes == std::vector<std::uint8_t>{'x', 'y'});
  const std::vector<std::string> files = {
      "",
      "short",
      file_of(good, "x"),
      file_of(good, "xyz"),
      file_of(good, "xy").substr(0, 30),
      file_of(good, "xy").replace(0, 8, 8, '\xff'),
      file_of("[]", ""),
      file_of("{", ""),
      file_of(R"({"a":{"shape":[2],"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":7})", ""),
      file_of(R"({"a":{"dtype":"U9","shape":[2],"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":2,"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[9223372036854775807,4],"data_offsets":[0,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,3]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,18446744073709551615]}})", "xy"),
      file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
              "xy"),
      file_of(R"({"__metadata__":{"a":1}})", "")};
  for (std::size_t i = 0; i < files.size(); ++i) {
    write_bytes(path, files[i]);
    INFO("file " << i);
    try {
      (void)read_safetensors(path);
      FAIL("accepted");
    } catch (const DataError& error) {
      CHECK(std::string(error.what()).find(path) != std::string::npos);
    }
  }
  CHECK_THROWS_AS(read_safetensors(folder / "none"), MissingInputError);
}
