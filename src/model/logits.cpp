#include "model/logits.hpp"

#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// The part of a tuple or a dictionary that has the logits; anything else as it is.
c10::IValue part_with_logits(const c10::IValue& result) {
  if (result.isTuple() && !result.toTupleRef().elements().empty()) return result.toTupleRef().elements()[0];
  if (!result.isGenericDict()) return result;
  std::string keys;
  for (const auto& entry : result.toGenericDict()) {
    if (!entry.key().isString()) continue;
    const std::string key = entry.key().toStringRef();
    if (key == "out" || key == "logits") return entry.value();
    keys += (keys.empty() ? "" : ", ") + key;
  }
  throw DataError("the network returns a dictionary without 'out' or 'logits'; it has " + keys);
}

std::string dimensions(at::IntArrayRef shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

at::Tensor logits_of(const c10::IValue& result) {
  const c10::IValue value = part_with_logits(result);
  if (!value.isTensor()) {
    throw DataError("the network returns a " + value.type()->str() +
                    "; bitfall needs one tensor of logits [N, classes]");
  }
  if (value.toTensor().dim() != 2) {
    throw DataError("the network returns a tensor of shape " + dimensions(value.toTensor().sizes()) +
                    "; bitfall needs logits [N, classes]");
  }
  return value.toTensor();
}

}  // namespace bitfall
