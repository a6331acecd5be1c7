#include "describe.hpp"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitfall {

namespace {

std::int64_t codes_bytes(const QuantizedLayer& layer) {
  return (static_cast<std::int64_t>(layer.codes.size()) * layer.code_bits() + 7) / 8;
}

/// JSON that a file carries is shown as it is; text that is no JSON as text.
nlohmann::json embedded(const std::string& text) {
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? nlohmann::json(text) : value;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

}  // namespace

std::string describe_json(const Archive& archive, const ArchiveBytes& bytes) {
  nlohmann::json layers = nlohmann::json::array();
  for (const QuantizedLayer& layer : archive.layers) {
    nlohmann::json entry = {{"name", layer.name},
                            {"kind", to_string(layer.kind)},
                            {"shape", layer.weight_shape},
                            {"d", layer.d},
                            {"k", layer.k},
                            {"n", layer.codes.size()},
                            {"metric", to_string(layer.metric)},
                            {"codes_bytes", codes_bytes(layer)},
                            {"codebook_bytes", layer.codebook.size() * 2},
                            {"iterations", layer.iterations.size()}};
    if (!layer.iterations.empty()) {
      entry["first_objective"] = layer.iterations.front().objective;
      entry["last_objective"] = layer.iterations.back().objective;
    }
    layers.push_back(std::move(entry));
  }
  const nlohmann::json object = {{"layers", layers},
                                 {"kept_tensors", archive.kept.size()},
                                 {"bytes",
                                  {{"file", bytes.file},
                                   {"codes", bytes.codes},
                                   {"codebooks", bytes.codebooks},
                                   {"kept", bytes.kept},
                                   {"model", bytes.model},
                                   {"provenance", bytes.provenance},
                                   {"overhead", bytes.overhead}}},
                                 {"content_sha256", archive.content_sha256},
                                 {"plan", embedded(archive.plan_json)},
                                 {"provenance", embedded(archive.provenance_json)}};
  return object.dump();
}

std::string describe_table(const Archive& archive, const ArchiveBytes& bytes) {
  std::size_t width = 5;
  for (const QuantizedLayer& layer : archive.layers) width = std::max(width, layer.name.size());
  char line[512];
  std::snprintf(line, sizeof line, "%-*s %-16s %5s %6s %9s %10s %10s %5s %12s\n", static_cast<int>(width),
                "layer", "shape", "d", "k", "blocks", "codes B", "codebook B", "iter", "objective");
  std::string text = line;
  for (const QuantizedLayer& layer : archive.layers) {
    std::snprintf(line, sizeof line, "%-*s %-16s %5lld %6lld %9zu %10lld %10zu %5zu %12.5g\n",
                  static_cast<int>(width), layer.name.c_str(), shape_text(layer.weight_shape).c_str(),
                  static_cast<long long>(layer.d), static_cast<long long>(layer.k), layer.codes.size(),
                  static_cast<long long>(codes_bytes(layer)), layer.codebook.size() * 2,
                  layer.iterations.size(),
                  layer.iterations.empty() ? 0.0 : layer.iterations.back().objective);
    text += line;
  }
  std::snprintf(line, sizeof line,
                "%zu layers, %zu kept tensors; bytes: codes %lld, codebooks %lld, kept %lld, network %lld, "
                "provenance %lld, "
                "tables and HDF5 %lld, file %lld (%.3f MiB)\ncontent sha256 %s",
                archive.layers.size(), archive.kept.size(), static_cast<long long>(bytes.codes),
                static_cast<long long>(bytes.codebooks), static_cast<long long>(bytes.kept),
                static_cast<long long>(bytes.model), static_cast<long long>(bytes.provenance),
                static_cast<long long>(bytes.overhead), static_cast<long long>(bytes.file),
                static_cast<double>(bytes.file) / (1 << 20), archive.content_sha256.c_str());
  return text + line;
}

}  // namespace bitfall
