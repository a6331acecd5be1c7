#include "sample_archive.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/archive.hpp"

namespace bitfall {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "bitfall-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<std::string> TemporaryFolder::names() const {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

QuantizedLayer random_layer(const std::string& name, const std::vector<std::int64_t>& shape, std::int64_t d,
                            std::int64_t k, std::uint64_t seed, std::int64_t iterations) {
  std::mt19937_64 random(seed);
  QuantizedLayer layer;
  layer.name = name;
  layer.weight_name = name + ".weight";
  layer.kind = shape.size() == 2 ? LayerKind::linear : LayerKind::convolution;
  layer.weight_shape = shape;
  layer.d = d;
  layer.k = k;
  layer.metric = seed % 2 == 0 ? Metric::activation : Metric::euclidean;
  layer.codes.resize(static_cast<std::size_t>(layer.elements() / d));
  for (std::uint16_t& code : layer.codes)
    code = static_cast<std::uint16_t>(random() % static_cast<std::uint64_t>(k));
  layer.codebook.resize(static_cast<std::size_t>(k * d));
  std::normal_distribution<float> value(0.0F, 0.05F);
  for (std::uint16_t& half : layer.codebook) half = float_to_half(value(random));
  double objective = 100.0 + value(random);
  for (std::int64_t i = 0; i < iterations; ++i) {
    objective *= 1.0 - 0.01 / static_cast<double>(i + 1) * (1.0 + value(random));
    const auto moved =
        static_cast<std::int64_t>(random() % (layer.codes.size() / static_cast<std::size_t>(i + 1) + 1));
    layer.iterations.push_back({objective, moved, i == 0 ? 2 : 0, 0.1 * value(random)});
  }
  return layer;
}

void make_int8(QuantizedLayer& layer) {
  std::vector<float> values;
  for (const std::uint16_t half : layer.codebook) values.push_back(half_to_float(half));
  StoredCodebook stored = round_codebook(values, layer.d, CodebookType::int8);
  layer.codebook = std::move(stored.halves);
  layer.codebook_scale = stored.scale;
}

KeptTensor random_tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                         std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::size_t elements = 1;
  for (const std::int64_t size : shape) elements *= static_cast<std::size_t>(size);
  std::vector<float> values(elements);
  for (float& value : values) value = normal(random);
  KeptTensor tensor{name, "float32", shape, "float32", {}};
  tensor.bytes.resize(elements * sizeof(float));
  if (elements > 0) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

Archive sample_archive() {
  Archive archive;
  archive.layers.push_back(random_layer("layer1.0.conv1", {16, 8, 3, 3}, 9, 5, 1));
  archive.layers.push_back(random_layer("layer1.0.größe", {32, 16, 1, 1}, 4, 1, 2, 0));
  archive.layers.push_back(random_layer("layer2.0.conv2", {64, 32, 3, 3}, 18, 256, 3, 12));
  archive.layers.back().groups = 2;
  archive.layers.push_back(random_layer("fc", {100, 128}, 4, 2048, 4));
  archive.layers.push_back(random_layer("skewed", {64, 256}, 4, 30, 8));
  for (std::uint16_t& code : archive.layers.back().codes) code = static_cast<std::uint16_t>(code * code / 30);
  archive.layers.push_back(random_layer("int8", {10, 128}, 4, 6, 10));
  make_int8(archive.layers.back());
  archive.kept.push_back(random_tensor("conv1.weight", {16, 3, 3, 3}, 5));
  archive.kept.push_back(random_tensor("bn1.weight", {16}, 6));
  compact_to_half(archive.kept.back());
  archive.kept.push_back({"bn1.num_batches_tracked", "int64", {}, "int64", {7, 0, 0, 0, 0, 0, 0, 0}});
  archive.kept.push_back({"empty", "float32", {0, 4}, "float32", {}});
  archive.kept.push_back({"mask", "bool", {3}, "bool", {1, 0, 1}});
  archive.kept.push_back({"ones", "float16", {2, 3}, "float16", {0, 60, 0, 60, 0, 60, 0, 60, 0, 60, 0, 60}});
  archive.plan_json = R"({"regime":"small","sizes":{"original_bytes":4000,"information_bytes":1000}})";
  archive.model = "PK" + std::string(5000, '\0') + "TorchScript" + std::string(300, 'x');
  archive.provenance_json = R"({"version":"0.1.0","world_size":2})";
  return archive;
}

namespace {

std::string difference(const QuantizedLayer& one, const QuantizedLayer& other) {
  const auto same = [](const KmeansIteration& a, const KmeansIteration& b) {
    return std::memcmp(&a.objective, &b.objective, sizeof a.objective) == 0 && a.moved == b.moved &&
           a.refilled == b.refilled && static_cast<float>(a.seconds) == static_cast<float>(b.seconds);
  };
  if (one.name != other.name || one.weight_name != other.weight_name) return "a name";
  if (one.kind != other.kind || one.weight_shape != other.weight_shape || one.groups != other.groups)
    return "a shape";
  if (one.d != other.d || one.k != other.k || one.metric != other.metric) return "d, k or metric";
  if (one.codes != other.codes) return "codes";
  if (one.codebook != other.codebook || one.codebook_scale != other.codebook_scale) return "a codebook";
  if (!std::equal(one.iterations.begin(), one.iterations.end(), other.iterations.begin(),
                  other.iterations.end(), same))
    return "iterations";
  return "";
}

bool same(const KeptTensor& one, const KeptTensor& other) {
  return one.name == other.name && one.dtype == other.dtype && one.shape == other.shape &&
         one.stored_dtype == other.stored_dtype && one.bytes == other.bytes;
}

}  // namespace

std::string difference(const Archive& one, const Archive& other) {
  if (one.layers.size() != other.layers.size()) return "the number of layers";
  for (std::size_t i = 0; i < one.layers.size(); ++i) {
    const std::string what = difference(one.layers[i], other.layers[i]);
    if (!what.empty()) return what + " of layer " + one.layers[i].name;
  }
  if (!std::equal(one.kept.begin(), one.kept.end(), other.kept.begin(), other.kept.end(), same))
    return "a kept tensor";
  if (one.plan_json != other.plan_json) return "the plan";
  if (one.model != other.model) return "the model";
  if (one.provenance_json != other.provenance_json) return "the provenance";
  if (one.content_sha256 != other.content_sha256) return "the content hash";
  return "";
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string python_with(const std::string& modules) {
  const char* python = std::getenv("BITFALL_PYTHON");
  if (python == nullptr) {
    std::cout << "skipped: BITFALL_PYTHON names no Python (./run.sh test sets it)\n";
    return "";
  }
  const std::string command = std::string(python) + " -c 'import " + modules + "' 2>/dev/null";
  if (std::system(command.c_str()) == 0) return python;
  std::cout << "skipped: " << python << " can't import " << modules << '\n';
  return "";
}

}  // namespace bitfall
