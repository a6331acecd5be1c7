// From the tensors of a released file to an archive: layers against the network's layer table, the rest by
// name.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "bitfall/errors.hpp"
#include "bitfall/plan.hpp"
#include "import_authors.hpp"
#include "kept.hpp"

namespace bitfall {

namespace {

using Shape = std::vector<std::int64_t>;

std::string text_of(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : "x") + std::to_string(size);
  return "[" + text + "]";
}

/// The tensors of a file by name; knows which of them nobody asked for.
class FileTensors {
 public:
  FileTensors(const std::vector<KeptTensor>& tensors, std::string source) : source_(std::move(source)) {
    for (const KeptTensor& tensor : tensors) tensors_.emplace(tensor.name, &tensor);
  }
  [[nodiscard]] const KeptTensor* take(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return nullptr;
    taken_.insert(name);
    return found->second;
  }
  [[noreturn]] void reject(const std::string& what) const {
    throw DataError(source_ + ": " + what + "; is --model the network that the file belongs to?");
  }
  void require_all_taken() const {
    for (const auto& [name, tensor] : tensors_) {
      if (!taken_.contains(name)) reject("the network has nothing that '" + name + "' would be");
    }
  }

 private:
  std::string source_;
  std::map<std::string, const KeptTensor*> tensors_;
  std::set<std::string> taken_;
};

template <class T>
std::vector<T> elements(const KeptTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  return values;
}

/// The quantized layer of the file that belongs to `layer`, if the file has one.
std::optional<QuantizedLayer> take_layer(const Layer& layer, FileTensors& file) {
  const KeptTensor* codebook = file.take(layer.name + ".codebook");
  const KeptTensor* codes = file.take(layer.name + ".codes");
  if (codebook == nullptr || codes == nullptr) return std::nullopt;
  const std::string where = "layer '" + layer.name + "'";
  if (codebook->dtype != "float16" || codebook->shape.size() != 2 || codes->dtype != "int32") {
    file.reject(where + " needs an fp16 matrix as codebook and int32 codes");
  }
  QuantizedLayer result;
  result.name = layer.name;
  result.weight_name = layer.weight_name;
  result.kind = layer.kind;
  result.weight_shape = layer.weight_shape;
  result.groups = layer.groups;
  result.k = codebook->shape[0];
  result.d = codebook->shape[1];
  result.metric = Metric::activation;
  result.codebook = elements<std::uint16_t>(*codebook);
  const bool divides = result.d > 0 && layer.columns() % result.d == 0;
  if (result.k < 1 || result.k > 65536 || !divides ||
      codes->shape != Shape{layer.rows(), layer.columns() / result.d}) {
    file.reject(where + " has codes " + text_of(codes->shape) + " and a codebook " +
                text_of(codebook->shape) + ", which do not make the network's weight " +
                text_of(layer.weight_shape));
  }
  for (const std::int32_t code : elements<std::int32_t>(*codes)) {
    if (code < 0 || code >= result.k) {
      file.reject(where + " has the code " + std::to_string(code) + ", but " + std::to_string(result.k) +
                  " codewords");
    }
    result.codes.push_back(static_cast<std::uint16_t>(code));
  }
  return result;
}

at::Tensor to_tensor(const KeptTensor& kept, const TensorInfo& info, const FileTensors& file) {
  const bool half = kept.dtype == "float16";
  if (!half && kept.dtype != "float32") file.reject("tensor '" + kept.name + "' is neither fp16 nor fp32");
  if (kept.shape != info.shape) {
    file.reject("tensor '" + kept.name + "' has the shape " + text_of(kept.shape) + ", in the network " +
                text_of(info.shape));
  }
  at::Tensor tensor = at::empty(kept.shape, at::TensorOptions().dtype(half ? at::kHalf : at::kFloat));
  std::memcpy(tensor.mutable_data_ptr(), kept.bytes.data(), kept.bytes.size());
  return tensor.to(at::kFloat);
}

/// Sets every tensor of the network that is no quantized weight.
void set_kept_tensors(Network& network, const std::set<std::string>& quantized, FileTensors& file) {
  for (const TensorInfo& info : network.tensors()) {
    if (quantized.contains(info.name)) continue;
    if (const KeptTensor* kept = file.take(info.name); kept != nullptr) {
      network.set_tensor(info.name, to_tensor(*kept, info, file));
    } else if (info.role == TensorRole::batch_norm_mean || info.role == TensorRole::batch_norm_variance) {
      // folded by the authors: y = weight * x + bias
      const double value = info.role == TensorRole::batch_norm_mean ? 0 : 1;
      network.set_tensor(info.name, at::full(info.shape, value, at::TensorOptions().dtype(at::kFloat)));
    } else if (info.role != TensorRole::buffer && info.tied_to.empty()) {
      file.reject("the network's tensor '" + info.name + "' is missing in the file");
    }
  }
}

bool is_exact_in_half(const KeptTensor& tensor) {
  for (const float value : elements<float>(tensor)) {
    if (half_to_float(float_to_half(value)) != value) return false;
  }
  return true;
}

/// What was done, in the terms of a plan, so that sizes are counted as everywhere.
Plan describe(const Network& network, const std::vector<QuantizedLayer>& layers) {
  std::map<std::string, const QuantizedLayer*> by_name;
  for (const QuantizedLayer& layer : layers) by_name.emplace(layer.name, &layer);
  Plan plan;
  plan.preset = "imported";
  for (const Layer& layer : network.layers()) {
    LayerPlan entry;
    entry.layer = layer;
    if (const auto found = by_name.find(layer.name); found != by_name.end()) {
      const QuantizedLayer& quantized = *found->second;
      entry.quantized = true;
      entry.d = quantized.d;
      entry.k = entry.requested_k = quantized.k;
      entry.m = layer.columns() / entry.d;
      entry.n = layer.rows() * entry.m;
      entry.metric = quantized.metric;
      if (layer.kernel_elements() > 1 && entry.d > layer.kernel_elements()) plan.regime = Regime::large;
    } else {
      entry.reason = "dense in the imported file";
    }
    plan.layers.push_back(std::move(entry));
  }
  plan.sizes = count_sizes(plan.layers, network.tensors());
  return plan;
}

}  // namespace

Archive assemble_authors_archive(const std::vector<KeptTensor>& tensors, Network& network,
                                 const std::string& source) {
  FileTensors file(tensors, source);
  Archive archive;
  std::set<std::string> quantized;
  for (const Layer& layer : network.layers()) {
    std::optional<QuantizedLayer> imported = take_layer(layer, file);
    if (!imported) continue;
    network.set_tensor(layer.weight_name, decode(*imported));
    quantized.insert(layer.weight_name);
    archive.layers.push_back(std::move(*imported));
  }
  if (archive.layers.empty()) file.reject("none of its quantized layers is in the network");
  set_kept_tensors(network, quantized, file);
  file.require_all_taken();
  archive.kept = collect_kept(std::as_const(network), archive.layers);
  for (KeptTensor& kept : archive.kept) {
    if (kept.stored_dtype == "float32" && is_exact_in_half(kept)) compact_to_half(kept);
  }
  archive.plan_json = to_json(describe(network, archive.layers));
  return archive;
}

}  // namespace bitfall
