#pragma once
/// What a rank's device does with arrays that LibTorch holds there. Pointers are the device's; work is
/// ordered with LibTorch's own. The implementation is cuda/cuda_array_work.hpp; on a CPU there is none.
#include <cstdint>
#include <span>

namespace bitfall {

/// One unfolded row: an image, a group of channels, an output position.
struct RowAddress {
  std::int64_t image = 0, group = 0, position = 0;
};

/// The window of a layer over an input; index 0 is vertical. Strides count values, so that a linear layer is
/// a 1 x 1 window over planes of one column.
struct RowWindow {
  const float* values = nullptr;
  std::int64_t image_stride = 0, group_stride = 0, channel_stride = 0, line_stride = 0, value_stride = 0;
  std::int64_t channels = 0;  ///< of one group
  std::int64_t input[2] = {1, 1};
  std::int64_t kernel[2] = {1, 1};
  std::int64_t stride[2] = {1, 1};
  std::int64_t padding[2] = {0, 0};
  std::int64_t dilation[2] = {1, 1};
  std::int64_t output[2] = {1, 1};

  [[nodiscard]] constexpr std::int64_t columns() const { return channels * kernel[0] * kernel[1]; }
  [[nodiscard]] constexpr std::int64_t positions() const { return output[0] * output[1]; }
};

/// A part of the vector that training moves: a codebook, or a tensor as it is.
struct TrainedPart {
  std::int64_t first = 0;               ///< of the vector
  std::int64_t length = 0;              ///< k d, or the tensor's values
  std::int64_t weights = 0;             ///< n d, or the tensor's values
  std::int64_t d = 0;                   ///< 0: a tensor
  const std::int32_t* codes = nullptr;  ///< [n]
  const std::int32_t* order =
      nullptr;  ///< [n]: the blocks of codeword 0 in order, then those of codeword 1, ...
  const std::int64_t* starts = nullptr;  ///< [k + 1]: where each codeword's blocks begin in `order`
  const float* gradient = nullptr;       ///< [weights], dense
  float* weight = nullptr;               ///< [weights]
};

class ArrayWork {
 public:
  virtual ~ArrayWork() = default;

  /// rows [count][D]: the unfolded rows at `addresses` (on the host); 0 outside the image.
  virtual void unfold(const RowWindow& window, std::span<const RowAddress> addresses, float* rows) const = 0;
  /// For each of the D / d groups of d columns the upper triangle of sum x x^T over all positions of `images`
  /// images of `groups` groups: [D / d][d (d + 1) / 2] doubles, overwritten; (0, 0), (0, 1), ... (1, 1), ...
  virtual void block_moments(const RowWindow& window, std::int64_t images, std::int64_t groups,
                             std::int64_t d, double* triangles) const = 0;
  /// lower += round-half-even(X^T X factor) of X [count][columns]: entry (a, b <= a) at a (a + 1) / 2 + b.
  /// `product`: columns^2 values of scratch.
  virtual void add_square(const float* x, std::int64_t count, std::int64_t columns, double factor,
                          float* product, std::int64_t* lower) const = 0;
  /// sums [rows][columns] += round-half-even(Y X factor) of Y [rows][count] and X [count][columns].
  /// `product`: rows * columns values of scratch.
  virtual void add_product(const float* y, const float* x, std::int64_t rows, std::int64_t count,
                           std::int64_t columns, double factor, float* product, std::int64_t* sums) const = 0;

  /// The gradient of the whole vector from the parts' dense ones: a codeword's is the mean over its blocks,
  /// summed in their order (paper, equation 9); 0 without blocks.
  virtual void gather_gradients(std::span<const TrainedPart> parts, double* gradient) const = 0;
  /// Every part's weight from the vector: decoded, or as it is.
  virtual void write_weights(std::span<const TrainedPart> parts, const float* values) const = 0;
};

}  // namespace bitfall
