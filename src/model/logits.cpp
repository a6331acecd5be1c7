#include "model/logits.hpp"

#include <ATen/core/jit_type.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "model/error_text.hpp"

namespace bitfall {
namespace {

/// A part and the names that it answers to; the first is the one shown.
struct Part {
  std::vector<std::string> names;
  c10::IValue value;
};

std::vector<Part> tuple_parts(const c10::IValue& result) {
  std::vector<Part> parts;
  const auto& elements = result.toTupleRef().elements();
  const auto schema = result.type()->expectRef<c10::TupleType>().schema();  // of a named tuple
  for (std::size_t i = 0; i < elements.size(); ++i) {
    Part part{{std::to_string(i)}, elements[i]};
    if (schema) part.names.insert(part.names.begin(), schema->arguments().at(i).name());
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<Part> dictionary_parts(const c10::IValue& result) {
  std::vector<Part> parts;
  for (const auto& entry : result.toGenericDict()) {
    if (entry.key().isString()) parts.push_back({{entry.key().toStringRef()}, entry.value()});
  }
  return parts;
}

bool answers(const Part& part, const std::string& name) {
  for (const std::string& known : part.names)
    if (known == name) return true;
  return false;
}

const Part* find(const std::vector<Part>& parts, const std::string& name) {
  for (const Part& part : parts)
    if (answers(part, name)) return &part;
  return nullptr;
}

std::string list_of(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts) text += (text.empty() ? "" : ", ") + part.names.front();
  return text;
}

c10::IValue choose(const c10::IValue& result, const std::string& name) {
  const bool tuple = result.isTuple();
  if (!tuple && !result.isGenericDict()) {
    if (name.empty()) return result;
    throw DataError("the network returns a " + result.type()->str() + ", which has no part '" + name + "'");
  }
  const std::vector<Part> parts = tuple ? tuple_parts(result) : dictionary_parts(result);
  const Part* found = !name.empty()                   ? find(parts, name)
                      : tuple && !parts.empty()       ? &parts.front()
                      : find(parts, "out") != nullptr ? find(parts, "out")
                                                      : find(parts, "logits");
  if (found != nullptr) return found->value;
  throw DataError(
      "the network returns a " + std::string(tuple ? "tuple" : "dictionary") +
      (name.empty() ? ", and which part the logits are is not plain" : " without '" + name + "'") +
      "; choose one with --logits: " + list_of(parts));
}

}  // namespace

at::Tensor logits_of(const c10::IValue& result, const std::string& part) {
  const c10::IValue value = choose(result, part);
  if (!value.isTensor()) {
    throw DataError("the network returns a " + value.type()->str() +
                    "; bitfall needs one tensor of logits [N, classes]");
  }
  if (value.toTensor().dim() != 2) {
    throw DataError("the network returns a tensor of shape " + shape_text(value.toTensor().sizes()) +
                    "; bitfall needs logits [N, classes]");
  }
  return value.toTensor();
}

}  // namespace bitfall
