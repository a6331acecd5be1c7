#pragma once
/// What torchvision's detectors return, told apart from logits.
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <vector>

namespace bitfall {

/// The detections on one image, on the host, best first as the network gives them.
struct Detections {
  at::Tensor boxes;   ///< [n, 4] float32: x1, y1, x2, y2 in pixels of the image
  at::Tensor scores;  ///< [n] float32
  at::Tensor labels;  ///< [n] int64
  at::Tensor masks;   ///< [n, 1, height, width] float32 probabilities, or undefined
};

/// A list of dictionaries of tensors, one for each image, or a tuple that holds such a list (scripted
/// detectors return their losses beside it).
[[nodiscard]] bool holds_detections(const c10::Type& result);

/// Of every image. Throws DataError when a dictionary has no boxes, scores or labels, or of other shapes.
[[nodiscard]] std::vector<Detections> detections_of(const c10::IValue& result);

}  // namespace bitfall
