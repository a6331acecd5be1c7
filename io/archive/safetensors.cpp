#include "safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "bounded_json.hpp"
#include "check.hpp"
#include "file.hpp"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

/// The reference implementation's limit.
constexpr std::uint64_t most_header_bytes = 100'000'000;
constexpr std::string_view metadata_key = "__metadata__";

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> type_names = {{{"float64", "F64"},
                                                                                       {"float32", "F32"},
                                                                                       {"float16", "F16"},
                                                                                       {"bfloat16", "BF16"},
                                                                                       {"int64", "I64"},
                                                                                       {"int32", "I32"},
                                                                                       {"int16", "I16"},
                                                                                       {"int8", "I8"},
                                                                                       {"uint8", "U8"},
                                                                                       {"bool", "BOOL"},
                                                                                       {"complex64", "C64"}}};

std::string type_name(const KeptTensor& tensor) {
  for (const auto& [dtype, name] : type_names) {
    if (dtype == tensor.dtype) return std::string(name);
  }
  throw DataError("tensor '" + tensor.name + "' has the type '" + tensor.dtype +
                  "', which safetensors does not know");
}

std::string dtype_of(const std::string& type, const std::string& what) {
  for (const auto& [dtype, name] : type_names) {
    if (name == type) return std::string(dtype);
  }
  throw DataError(what + " has the unknown type '" + type + "'");
}

void check_sizes(const KeptTensor& tensor, const std::string& what) {
  const std::int64_t elements = checked_elements(tensor.shape, 0, what);
  const std::int64_t element_bytes = dtype_bytes(tensor.dtype);
  const auto bytes = static_cast<std::int64_t>(tensor.bytes.size());
  if (bytes % element_bytes != 0 || bytes / element_bytes != elements)
    throw DataError(what + " has " + std::to_string(bytes) + " bytes where its shape needs " +
                    std::to_string(elements) + " elements of " + std::to_string(element_bytes));
}

/// One entry of the header: its name and where its bytes are in the data that follow.
struct Entry {
  KeptTensor tensor;
  std::uint64_t first = 0, last = 0;
};

Entry parse_entry(const std::string& name, const Json& json) {
  const std::string what = "tensor '" + name + "'";
  Entry entry;
  entry.tensor.name = name;
  entry.tensor.dtype = dtype_of(json.at("dtype").get<std::string>(), what);
  entry.tensor.stored_dtype = entry.tensor.dtype;
  const Json& shape = json.at("shape");
  if (!shape.is_array()) throw DataError(what + " has a shape that is not a list of sizes");
  for (const Json& size : shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > std::uint64_t{1} << 62)
      throw DataError(what + " has a shape that is not a list of sizes");
    entry.tensor.shape.push_back(size.get<std::int64_t>());
  }
  const Json& offsets = json.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    throw DataError(what + " has no two data_offsets");
  entry.first = offsets[0].get<std::uint64_t>();
  entry.last = offsets[1].get<std::uint64_t>();
  return entry;
}

SafetensorsFile parse(const std::string& file) {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes) throw DataError("it is too short for safetensors");
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > most_header_bytes || header_bytes > file.size() - sizeof header_bytes)
    throw DataError("its header claims " + std::to_string(header_bytes) +
                    " bytes; it is truncated or not safetensors");
  const auto header =
      parse_bounded_json<Json>(std::string_view(file).substr(sizeof header_bytes, header_bytes));
  if (header.is_discarded())
    throw DataError("its header is not that of safetensors: no JSON, or nested too deep");
  if (!header.is_object()) throw DataError("its header is not a JSON object");
  const std::string_view data = std::string_view(file).substr(sizeof header_bytes + header_bytes);

  SafetensorsFile result;
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == metadata_key)
      result.metadata = json.get<std::map<std::string, std::string>>();
    else
      entries.push_back(parse_entry(name, json));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.first, a.last) < std::pair(b.first, b.last);
  });
  std::uint64_t end = 0;
  for (Entry& entry : entries) {
    const std::string what = "tensor '" + entry.tensor.name + "'";
    if (entry.first != end || entry.last < entry.first || entry.last > data.size())
      throw DataError(what + " overlaps another one, leaves a gap or ends beyond the file");
    end = entry.last;
    const std::string_view bytes = data.substr(entry.first, entry.last - entry.first);
    entry.tensor.bytes.assign(bytes.begin(), bytes.end());
    check_sizes(entry.tensor, what);
    result.tensors.push_back(std::move(entry.tensor));
  }
  if (end != data.size()) throw DataError("it has bytes after the last tensor");
  return result;
}

/// JSON is UTF-8; a tensor may have any name.
void check_utf8(const std::string& name, const std::string& what) {
  try {
    (void)Json(name).dump();
  } catch (const Json::type_error&) {
    throw DataError(what + " has a name that is not UTF-8, which safetensors needs; rename it");
  }
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<KeptTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Largest elements first, so that every tensor is aligned to its element size for readers that map the
  // file.
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return dtype_bytes(tensors[a].dtype) > dtype_bytes(tensors[b].dtype);
  });

  Json header = Json::object();
  if (!metadata.empty()) header[std::string(metadata_key)] = metadata;
  std::string data;
  for (const std::size_t index : order) {
    const KeptTensor tensor = expand_from_half(tensors[index]);
    const std::string what = "tensor '" + tensor.name + "'";
    if (tensor.name == metadata_key || header.contains(tensor.name))
      throw DataError(what + " has a name that is taken in a safetensors file");
    check_utf8(tensor.name, what);
    check_sizes(tensor, what);
    const std::size_t first = data.size();
    data.append(tensor.bytes.begin(), tensor.bytes.end());
    header[tensor.name] = {
        {"dtype", type_name(tensor)}, {"shape", tensor.shape}, {"data_offsets", {first, data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t header_bytes = text.size();
  std::string file(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  file += text;
  file += data;
  write_file_atomically(path, file);
}

SafetensorsFile read_safetensors(const std::string& path) {
  const std::string file = read_file(path);
  try {
    return parse(file);
  } catch (const DataError& error) {
    throw DataError(path + ": " + error.what());
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path + ": its header is not that of safetensors: " + error.what());
  }
}

}  // namespace bitfall
