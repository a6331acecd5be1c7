#include "kept.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "bitfall/errors.hpp"
#include "src/model/fold.hpp"

namespace bitfall {

namespace {

constexpr std::array<std::pair<at::ScalarType, const char*>, 9> dtypes = {{{at::kFloat, "float32"},
                                                                           {at::kHalf, "float16"},
                                                                           {at::kBFloat16, "bfloat16"},
                                                                           {at::kDouble, "float64"},
                                                                           {at::kLong, "int64"},
                                                                           {at::kInt, "int32"},
                                                                           {at::kChar, "int8"},
                                                                           {at::kByte, "uint8"},
                                                                           {at::kBool, "bool"}}};

at::ScalarType scalar_type(const std::string& dtype, const std::string& tensor, const std::string& source) {
  for (const auto& [type, name] : dtypes) {
    if (dtype == name) return type;
  }
  throw DataError(source + ": tensor '" + tensor + "' has the unknown type '" + dtype + "'");
}

KeptTensor keep(const Network& network, const TensorInfo& info) {
  const at::Tensor tensor = network.tensor(info.name).contiguous();
  KeptTensor kept{info.name, info.dtype, info.shape, info.dtype, {}};
  const auto* data = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
  kept.bytes.assign(data, data + tensor.nbytes());
  return kept;
}

void set_kept(Network& network, const KeptTensor& kept, const std::string& source) {
  const at::ScalarType stored = scalar_type(kept.stored_dtype, kept.name, source);
  at::Tensor value = at::empty(kept.shape, at::TensorOptions().dtype(stored));
  if (value.nbytes() != kept.bytes.size()) {
    throw DataError(source + ": tensor '" + kept.name + "' has " + std::to_string(kept.bytes.size()) +
                    " bytes where its shape needs " + std::to_string(value.nbytes()));
  }
  std::memcpy(value.mutable_data_ptr(), kept.bytes.data(), kept.bytes.size());
  network.set_tensor(kept.name, value.to(scalar_type(kept.dtype, kept.name, source)));
}

}  // namespace

KeptPrecision kept_precision_from_string(const std::string& name) {
  if (name == "exact") return KeptPrecision::exact;
  if (name == "fp16") return KeptPrecision::fp16;
  if (name == "folded") return KeptPrecision::folded;
  throw UsageError("--kept must be exact, fp16 or folded, not '" + name + "'");
}

std::vector<KeptTensor> collect_kept(const Network& network, const std::vector<QuantizedLayer>& layers) {
  std::set<std::string> quantized;
  for (const QuantizedLayer& layer : layers) quantized.insert(layer.weight_name);
  std::vector<KeptTensor> kept;
  for (const TensorInfo& info : network.tensors()) {
    if (!quantized.contains(info.name)) kept.push_back(keep(network, info));
  }
  return kept;
}

std::vector<KeptTensor> collect_kept(Network& network, const std::vector<QuantizedLayer>& layers,
                                     KeptPrecision precision) {
  if (precision == KeptPrecision::folded) fold_batch_norms(network);
  std::vector<KeptTensor> kept = collect_kept(std::as_const(network), layers);
  if (precision != KeptPrecision::exact) {
    // One element is stored of a constant: rounding it would save nothing. Folding leaves constants that are
    // no fp16 numbers.
    for (KeptTensor& tensor : kept)
      if (!is_constant(tensor)) compact_to_half(tensor);
  }
  return kept;
}

void apply_kept(Network& network, const std::vector<KeptTensor>& kept, const std::string& source) {
  for (const KeptTensor& tensor : kept) set_kept(network, tensor, source);
}

Network restore_network(const Archive& archive, const std::string& source) {
  if (archive.model.empty()) {
    throw DataError(source +
                    ": the archive has no embedded network; give the network's TorchScript with --model");
  }
  Network network = Network::from_bytes(archive.model, source + ":/model");
  std::set<std::string> missing;
  for (const TensorInfo& info : network.tensors()) missing.insert(info.name);
  for (const QuantizedLayer& layer : archive.layers) {
    if (missing.erase(layer.weight_name) == 0) {
      throw DataError(source + ": the embedded network has no tensor '" + layer.weight_name + "'");
    }
    network.set_tensor(layer.weight_name, decode(layer));
  }
  for (const KeptTensor& kept : archive.kept) {
    if (missing.erase(kept.name) == 0) {
      throw DataError(source + ": the embedded network has no tensor '" + kept.name + "'");
    }
    set_kept(network, kept, source);
  }
  if (!missing.empty()) throw DataError(source + ": tensor '" + *missing.begin() + "' is missing");
  const auto plan = nlohmann::json::parse(archive.plan_json, nullptr, false);
  if (plan.is_object() && plan.contains("logits") && plan["logits"].is_string())
    network.choose_logits(plan["logits"]);
  return network;
}

}  // namespace bitfall
