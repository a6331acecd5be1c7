#include "describe.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bounded_json.hpp"
#include "content_hash.hpp"
#include "sha256.hpp"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;
using Part = std::pair<std::string_view, std::int64_t>;

constexpr double mib = 1024.0 * 1024.0;
constexpr std::size_t table_columns = 12;

std::int64_t codes_bytes(const QuantizedLayer& layer) {
  return (static_cast<std::int64_t>(layer.codes.size()) * layer.code_bits() + 7) / 8;
}

std::array<Part, 6> parts_of(const ArchiveBytes& bytes) {
  return {{{"codes", bytes.codes},
           {"codebooks", bytes.codebooks},
           {"kept", bytes.kept},
           {"model", bytes.model},
           {"provenance", bytes.provenance},
           {"overhead", bytes.overhead}}};
}

Json layer_json(const QuantizedLayer& layer, const LayerBytes& stored) {
  Json json = {{"name", layer.name},
               {"weight", layer.weight_name},
               {"kind", to_string(layer.kind)},
               {"shape", layer.weight_shape},
               {"groups", layer.groups},
               {"d", layer.d},
               {"k", layer.k},
               {"n", layer.codes.size()},
               {"metric", to_string(layer.metric)},
               {"code_bits", layer.code_bits()},
               {"codes_bytes", codes_bytes(layer)},
               {"coding", to_string(stored.coding)},
               {"coded_bytes", stored.codes},
               {"entropy_bits", code_entropy(layer.codes, layer.k)},
               {"codebook_type", to_string(layer.codebook_type())},
               {"codebook_bytes", layer.codebook_bytes()},
               {"codes_sha256", to_hex(codes_sha256(layer))},
               {"codebook_sha256", to_hex(codebook_sha256(layer))},
               {"iterations", layer.iterations.size()},
               {"first_objective", nullptr},
               {"last_objective", nullptr}};
  if (!layer.iterations.empty()) {
    json["first_objective"] = layer.iterations.front().objective;
    json["last_objective"] = layer.iterations.back().objective;
  }
  return json;
}

Json kept_json(const KeptTensor& tensor) {
  return {{"name", tensor.name},   {"dtype", tensor.dtype},        {"stored_dtype", tensor.stored_dtype},
          {"shape", tensor.shape}, {"bytes", tensor.bytes.size()}, {"sha256", to_hex(sha256(tensor.bytes))}};
}

/// The plan's "sizes", or null: an archive may come from elsewhere (import) with another plan or none.
Json plan_sizes(const Archive& archive) {
  const Json plan = parse_bounded_json<Json>(archive.plan_json);
  return plan.is_object() && plan.contains("sizes") ? plan["sizes"] : Json(nullptr);
}

/// JSON as such, anything else as a string.
Json json_or_text(const std::string& text) {
  Json json = parse_bounded_json<Json>(text);
  return json.is_discarded() ? Json(text) : json;
}

using Row = std::array<std::string, table_columns>;

template <class Number>
std::string number_text(Number value, int digits) {
  std::ostringstream text;
  text << std::setprecision(digits) << value;
  return text.str();
}

std::string bits_text(double bits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(2) << bits;
  return text.str();
}

Row layer_row(const QuantizedLayer& layer, const LayerBytes& stored) {
  std::string shape;
  for (const std::int64_t size : layer.weight_shape)
    shape += (shape.empty() ? "" : "x") + std::to_string(size);
  Row row{layer.name,
          shape,
          std::to_string(layer.d),
          std::to_string(layer.k),
          std::to_string(layer.codes.size()),
          std::string(to_string(layer.metric)),
          std::string(to_string(stored.coding)),
          bits_text(8 * double(stored.codes) / double(layer.codes.size())),
          bits_text(code_entropy(layer.codes, layer.k)),
          std::to_string(stored.codes + layer.codebook_bytes()),
          "-",
          "-"};
  if (!layer.iterations.empty()) {
    row[10] = number_text(layer.iterations.front().objective, 5);
    row[11] = number_text(layer.iterations.back().objective, 5);
  }
  return row;
}

std::string layers_text(const std::vector<QuantizedLayer>& layers, const std::vector<LayerBytes>& stored) {
  std::vector<Row> rows{{"layer", "weight", "d", "k", "blocks", "metric", "coding", "bits/code", "entropy",
                         "bytes", "first objective", "last"}};
  for (std::size_t i = 0; i < layers.size(); ++i) rows.push_back(layer_row(layers[i], stored[i]));
  std::array<std::size_t, table_columns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < table_columns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::ostringstream text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < table_columns; ++i) {
      const bool word = i < 2 || i == 5 || i == 6;
      text << (i == 0 ? "" : "  ") << (word ? std::left : std::right)
           << std::setw(static_cast<int>(widths[i])) << row[i];
    }
    text << '\n';
  }
  return text.str();
}

std::string total_line(std::string_view what, std::int64_t bytes, std::string_view remark) {
  std::ostringstream line;
  line << std::left << std::setw(26) << what << std::right << std::setw(12) << bytes << " bytes "
       << std::fixed << std::setprecision(4) << std::setw(9) << static_cast<double>(bytes) / mib << " MiB"
       << (remark.empty() ? "" : "  ") << remark << '\n';
  return line.str();
}

std::string information_text(const Json& sizes) {
  if (!sizes.is_object()) return "";
  std::string text;
  for (const auto& [key, what] : {std::pair{"original_bytes", "original network, fp32"},
                                  std::pair{"information_bytes", "information, rest fp32"},
                                  std::pair{"information_bytes_fp16", "information, rest fp16"}}) {
    if (sizes.contains(key) && sizes[key].is_number_integer())
      text += total_line(what, sizes[key].get<std::int64_t>(), "by the plan");
  }
  return text;
}

}  // namespace

std::string describe_json(const Archive& archive, const ArchiveBytes& bytes) {
  Json json = {{"content_sha256", archive.content_sha256},
               {"layers", Json::array()},
               {"kept_tensors", archive.kept.size()},
               {"kept", Json::array()}};
  for (std::size_t i = 0; i < archive.layers.size(); ++i)
    json["layers"].push_back(layer_json(archive.layers[i], bytes.layers.at(i)));
  for (const KeptTensor& tensor : archive.kept) json["kept"].push_back(kept_json(tensor));
  json["bytes"]["file"] = bytes.file;
  for (const auto& [name, part] : parts_of(bytes)) json["bytes"][std::string(name)] = part;
  json["information"] = plan_sizes(archive);
  json["plan"] = json_or_text(archive.plan_json);
  json["provenance"] = json_or_text(archive.provenance_json);
  // Names need not be UTF-8: what is not is replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string describe_table(const Archive& archive, const ArchiveBytes& bytes) {
  std::int64_t kept_bytes = 0;
  for (const KeptTensor& tensor : archive.kept) kept_bytes += static_cast<std::int64_t>(tensor.bytes.size());
  std::string text = layers_text(archive.layers, bytes.layers) + '\n' +
                     std::to_string(archive.layers.size()) + " layers quantized, " +
                     std::to_string(archive.kept.size()) + " tensors kept (" + std::to_string(kept_bytes) +
                     " bytes)\n";
  for (const auto& [name, part] : parts_of(bytes))
    text += total_line(name, part, name == "overhead" ? "tables, plan, hashes, HDF5" : "");
  text += total_line("file", bytes.file, "");
  text += information_text(plan_sizes(archive));
  text += "content sha256 " + archive.content_sha256;
  return text;
}

}  // namespace bitfall
