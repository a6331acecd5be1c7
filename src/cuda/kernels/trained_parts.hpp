#pragma once
/// Between the vector that training moves and the dense weights, all parts in one launch.
#include <cstdint>

#include "cuda/device.hpp"
#include "parallel/array_work.hpp"

namespace bitfall::cuda {

struct TrainedPartsArguments {
  const TrainedPart* parts = nullptr;  ///< [count], on the device
  const std::int64_t* first_blocks =
      nullptr;  ///< [count + 1]: of threads, as gradient_blocks or weight_blocks
  std::int64_t count = 0;
};

/// Blocks of threads that a part takes.
[[nodiscard]] std::int64_t gradient_blocks(const TrainedPart& part);
[[nodiscard]] std::int64_t weight_blocks(const TrainedPart& part);

/// The twins are codebook_gradient and decode_blocks (src/finetune), in the same order: the same bits.
/// `blocks`: first_blocks[count]. Bytes: 4 read per weight, by blocks of d values, and 4 / d of the order.
void gather_gradients(const TrainedPartsArguments& arguments, std::int64_t blocks, double* gradient,
                      const Device& device);
/// Bytes: 4 written and 4 / d read per weight.
void write_weights(const TrainedPartsArguments& arguments, std::int64_t blocks, const float* values,
                   const Device& device);

}  // namespace bitfall::cuda
