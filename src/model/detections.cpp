#include "model/detections.hpp"

#include <cstdint>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

bool is_list_of_dictionaries(const c10::Type& type) {
  const auto* list = type.castRaw<c10::ListType>();
  const auto* entry = list == nullptr ? nullptr : list->getElementType()->castRaw<c10::DictType>();
  return entry != nullptr && entry->getKeyType()->kind() == c10::TypeKind::StringType &&
         entry->getValueType()->isSubtypeOf(*c10::TensorType::get());
}

/// The list inside the result, or None.
c10::IValue find_list(const c10::IValue& result) {
  if (is_list_of_dictionaries(*result.type())) return result;
  if (!result.isTuple()) return {};
  for (const c10::IValue& element : result.toTupleRef().elements())
    if (is_list_of_dictionaries(*element.type())) return element;
  return {};
}

/// Undefined where the dictionary has no such entry.
at::Tensor entry_of(const c10::IValue& image, const char* name, at::ScalarType type) {
  const auto dictionary = image.toGenericDict();
  const auto found = dictionary.find(name);
  if (found == dictionary.end()) return {};
  return found->value().toTensor().detach().cpu().to(type).contiguous();
}

void require_shapes(const Detections& found) {
  if (!found.boxes.defined() || !found.scores.defined() || !found.labels.defined())
    throw DataError("the network's detections lack boxes, scores or labels");
  const std::int64_t count = found.boxes.size(0);
  const bool sound = found.boxes.dim() == 2 && found.boxes.size(1) == 4 && found.scores.dim() == 1 &&
                     found.scores.size(0) == count && found.labels.dim() == 1 &&
                     found.labels.size(0) == count;
  const at::Tensor& masks = found.masks;
  if (!sound || (masks.defined() && (masks.dim() != 4 || masks.size(0) != count || masks.size(1) != 1)))
    throw DataError("the network's detections have shapes other than torchvision's");
}

}  // namespace

bool holds_detections(const c10::Type& result) {
  if (is_list_of_dictionaries(result)) return true;
  const auto* tuple = result.castRaw<c10::TupleType>();
  if (tuple == nullptr) return false;
  for (const auto& element : tuple->elements())
    if (is_list_of_dictionaries(*element)) return true;
  return false;
}

std::vector<Detections> detections_of(const c10::IValue& result) {
  const c10::IValue list = find_list(result);
  if (list.isNone()) throw DataError("the network returns a " + result.type()->str() + ", no detections");
  std::vector<Detections> images;
  for (const c10::IValue& image : list.toList().vec()) {
    Detections& found = images.emplace_back();
    found.boxes = entry_of(image, "boxes", at::kFloat);
    found.scores = entry_of(image, "scores", at::kFloat);
    found.labels = entry_of(image, "labels", at::kLong);
    found.masks = entry_of(image, "masks", at::kFloat);
    require_shapes(found);
  }
  return images;
}

}  // namespace bitfall
