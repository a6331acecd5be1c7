#pragma once
/// torchvision::nms and torchvision::roi_align, which scripted detectors call and LibTorch does not have.

namespace bitfall {

/// Registers both for the CPU, roi_align with its gradient, unless somebody (--op-library) has done so. The
/// first call counts. Schemas and results are those of torchvision 0.26.
void provide_detection_operators();

}  // namespace bitfall
