#include "model/image_list.hpp"

#include <utility>

namespace bitfall {

bool takes_list(const c10::Type& type) {
  return type.isSubtypeOf(*c10::ListType::ofTensors());
}

c10::List<at::Tensor> as_list(const at::Tensor& batch) {
  c10::List<at::Tensor> images;
  for (at::Tensor& image : batch.unbind(0)) images.push_back(std::move(image));
  return images;
}

}  // namespace bitfall
