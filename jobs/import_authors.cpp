#include "import_authors.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "bitfall/errors.hpp"
#include "io/archive/safetensors.hpp"
#include "kept.hpp"
#include "run_python.hpp"

namespace bitfall {

namespace {

/// A file name that is free, removed at the end.
class TemporaryFile {
 public:
  TemporaryFile()
      : path_((std::filesystem::temp_directory_path() /
               ("bitfall-import-" + std::to_string(getpid()) + ".safetensors"))
                  .string()) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <class T>
std::vector<T> elements(const KeptTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  return values;
}

using Tensors = std::map<std::string, KeptTensor>;

QuantizedLayer make_layer(const Layer& layer, const KeptTensor& codebook, const KeptTensor& codes,
                          const std::string& path) {
  const std::string where = path + ": layer '" + layer.name + "'";
  if (codebook.dtype != "float16" || codebook.shape.size() != 2 || codes.dtype != "int32") {
    throw DataError(where + " has a codebook or codes of an unexpected type");
  }
  QuantizedLayer result{.name = layer.name,
                        .weight_name = layer.weight_name,
                        .kind = layer.kind,
                        .weight_shape = layer.weight_shape,
                        .groups = layer.groups,
                        .d = codebook.shape[1],
                        .k = codebook.shape[0],
                        .metric = Metric::activation,
                        .codebook = elements<std::uint16_t>(codebook),
                        .codes = {},
                        .iterations = {}};
  const std::vector<std::int32_t> values = elements<std::int32_t>(codes);
  if (result.k > 65536 || static_cast<std::int64_t>(values.size()) * result.d != layer.elements()) {
    throw DataError(where + " does not fit the network's weight; is --model the right network?");
  }
  for (const std::int32_t code : values) {
    if (code < 0 || code >= result.k) throw DataError(where + " has a code outside of its codebook");
    result.codes.push_back(static_cast<std::uint16_t>(code));
  }
  return result;
}

at::Tensor to_tensor(const KeptTensor& kept, const std::string& path) {
  const bool half = kept.dtype == "float16";
  if (!half && kept.dtype != "float32")
    throw DataError(path + ": tensor '" + kept.name + "' is neither fp16 nor fp32");
  at::Tensor tensor = at::empty(kept.shape, at::TensorOptions().dtype(half ? at::kHalf : at::kFloat));
  std::memcpy(tensor.mutable_data_ptr(), kept.bytes.data(), kept.bytes.size());
  return tensor.to(at::kFloat);
}

/// Sets what the file keeps. Its batch norms are folded: running mean 0, variance 1. Returns the names stored
/// in fp16.
std::set<std::string> set_kept(Network& network, const Tensors& tensors,
                               const std::set<std::string>& quantized, const std::string& path) {
  std::set<std::string> halves;
  for (const TensorInfo& info : network.tensors()) {
    if (quantized.contains(info.name)) continue;
    if (const auto found = tensors.find(info.name); found != tensors.end()) {
      network.set_tensor(info.name, to_tensor(found->second, path));
      if (found->second.dtype == "float16") halves.insert(info.name);
    } else if (info.role == TensorRole::batch_norm_mean) {
      network.set_tensor(info.name, at::zeros(info.shape));
      halves.insert(info.name);
    } else if (info.role == TensorRole::batch_norm_variance) {
      network.set_tensor(info.name, at::ones(info.shape));
      halves.insert(info.name);
    } else if (info.role != TensorRole::buffer) {
      throw DataError(path + ": the network's tensor '" + info.name +
                      "' is missing; is --model the right network?");
    }
  }
  return halves;
}

}  // namespace

Archive import_authors(const std::string& path, Network& network) {
  const TemporaryFile converted;
  run_python("bitfall_import.py", {path, converted.path()});
  Tensors tensors;
  for (KeptTensor& tensor : read_safetensors(converted.path()).tensors)
    tensors[tensor.name] = std::move(tensor);
  Archive archive;
  std::set<std::string> quantized;
  for (const Layer& layer : network.layers()) {
    const auto codebook = tensors.find(layer.name + ".codebook"), codes = tensors.find(layer.name + ".codes");
    if (codebook == tensors.end() || codes == tensors.end()) continue;
    archive.layers.push_back(make_layer(layer, codebook->second, codes->second, path));
    network.set_tensor(layer.weight_name, decode(archive.layers.back()));
    quantized.insert(layer.weight_name);
  }
  if (archive.layers.empty())
    throw DataError(path + ": none of its layers is in the network; is --model the right network?");
  const std::set<std::string> halves = set_kept(network, tensors, quantized, path);
  archive.kept = collect_kept(std::as_const(network), archive.layers);
  for (KeptTensor& kept : archive.kept) {
    if (halves.contains(kept.name)) compact_to_half(kept);
  }
  archive.plan_json =
      nlohmann::json{{"imported_from", std::filesystem::path(path).filename().string()}}.dump();
  return archive;
}

}  // namespace bitfall
