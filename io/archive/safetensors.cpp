#include "safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "bitfall/errors.hpp"
#include "file.hpp"

namespace bitfall {

namespace {

struct Name {
  const char* ours;
  const char* theirs;
  std::int64_t bytes;
};
constexpr std::array<Name, 9> names = {{{"float32", "F32", 4},
                                        {"float16", "F16", 2},
                                        {"bfloat16", "BF16", 2},
                                        {"float64", "F64", 8},
                                        {"int64", "I64", 8},
                                        {"int32", "I32", 4},
                                        {"int8", "I8", 1},
                                        {"uint8", "U8", 1},
                                        {"bool", "BOOL", 1}}};

const Name& find_name(const std::string& text, const char* Name::*which) {
  const auto found =
      std::find_if(names.begin(), names.end(), [&](const Name& name) { return text == name.*which; });
  if (found == names.end()) throw DataError("unknown element type '" + text + "'");
  return *found;
}

KeptTensor read_tensor(const std::string& name, const nlohmann::json& entry, std::string_view data) {
  const Name& type = find_name(entry.at("dtype").get<std::string>(), &Name::theirs);
  KeptTensor tensor{name, type.ours, entry.at("shape").get<std::vector<std::int64_t>>(), type.ours, {}};
  const auto range = entry.at("data_offsets").get<std::array<std::int64_t, 2>>();
  const auto size = static_cast<std::int64_t>(data.size());
  if (range[0] < 0 || range[1] < range[0] || range[1] > size)
    throw DataError("tensor '" + name + "' lies outside of the file");
  std::int64_t bytes = type.bytes;
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 0 || (extent > 0 && bytes > size / extent))
      throw DataError("tensor '" + name + "' has an impossible shape");
    bytes *= extent;
  }
  if (bytes != range[1] - range[0]) throw DataError("tensor '" + name + "' has another size than its shape");
  const auto* first = reinterpret_cast<const std::uint8_t*>(data.data()) + range[0];
  tensor.bytes.assign(first, first + bytes);
  return tensor;
}

SafetensorsFile parse(std::string_view bytes) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) throw DataError("it is too short for safetensors");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) throw DataError("its header is longer than the file");
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof length, length));
  const std::string_view data = bytes.substr(sizeof length + length);
  SafetensorsFile file;
  std::vector<std::pair<std::int64_t, KeptTensor>> order;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      file.metadata = entry.get<std::map<std::string, std::string>>();
    } else {
      order.emplace_back(entry.at("data_offsets").at(0).get<std::int64_t>(), read_tensor(name, entry, data));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [offset, tensor] : order) file.tensors.push_back(std::move(tensor));
  return file;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<KeptTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t offset = 0;
  for (const KeptTensor& tensor : tensors) {
    const auto end = offset + static_cast<std::int64_t>(tensor.bytes.size());
    header[tensor.name] = {{"dtype", find_name(tensor.stored_dtype, &Name::ours).theirs},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins on a multiple of 8, as the format asks
  const std::uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += text;
  for (const KeptTensor& tensor : tensors)
    bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  write_file_atomically(path, bytes);
}

SafetensorsFile read_safetensors(const std::string& path) {
  const std::string bytes = read_file(path);
  try {
    return parse(bytes);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path + " is not a safetensors file: " + error.what());
  } catch (const DataError& error) {
    throw DataError(path + ": " + error.what());
  }
}

}  // namespace bitfall
