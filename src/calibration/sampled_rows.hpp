#pragma once
/// A fixed choice of unfolded rows of a layer's inputs, whatever the number of ranks.
#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "calibration/device_rows.hpp"
#include "calibration/layer_window.hpp"

namespace bitfall {

class SampledRows {
 public:
  /// Collective. Throws DataError naming the layer when an input does not fit, is NaN or infinite.
  SampledRows(const Layer& layer, std::span<const at::Tensor> inputs, const FullGramParameters& parameters,
              const Communicator& communicator);

  [[nodiscard]] const Layer& layer() const { return layer_; }    ///< flat_layer of what was given
  [[nodiscard]] std::int64_t rows() const { return all_rows_; }  ///< of all ranks, at least 1
  [[nodiscard]] double largest() const { return largest_; }      ///< magnitude of any input, of all ranks
  /// All positions of all images were chosen, in a layer whose window ShiftedGram fits.
  [[nodiscard]] bool is_shifted() const { return shifted_ && !on_device(); }
  /// The inputs lie on a device, on every rank: rows are gathered there.
  [[nodiscard]] bool on_device() const { return parameters_.arrays != nullptr; }
  [[nodiscard]] std::span<const at::Tensor> inputs() const { return inputs_; }  ///< of this rank

  /// Rows of one micro-batch that are worked on together: enough for the speed of a matrix product, few
  /// enough for float sums.
  struct Chunk {
    std::size_t micro_batch = 0;
    std::int64_t first = 0, count = 0;
  };
  /// Calls `work` for each chunk of this rank, one after the other; an error on one rank ends all
  /// (collective).
  void each_chunk(const std::string& what, const std::function<void(const Chunk&)>& work) const;
  /// Whether `tensors` have the shape of the layer's outputs, [N, rows, H, W], of one group (not collective).
  [[nodiscard]] bool fit_outputs(std::span<const at::Tensor> tensors) const;
  /// [rows, count]: of such outputs, contiguous, the values at a chunk's positions.
  [[nodiscard]] at::Tensor gather_outputs(const Chunk& chunk, std::span<const at::Tensor> outputs) const;
  /// The rows of a chunk, [count, D], where the inputs lie, in `memory`, which the next call may use again.
  [[nodiscard]] at::Tensor gather(const Chunk& chunk, at::Tensor& memory) const;

 private:
  [[nodiscard]] std::span<const RowAddress> addresses(const Chunk& chunk) const;
  [[nodiscard]] std::vector<RowAddress> choose(const LayerWindow& window, std::int64_t first_image,
                                               std::int64_t wanted) const;

  Layer layer_;
  FullGramParameters parameters_;
  const Communicator& communicator_;
  std::vector<at::Tensor> inputs_;
  std::vector<LayerWindow> windows_;
  std::vector<std::vector<RowAddress>> addresses_;  ///< by micro-batch
  bool shifted_ = false;
  std::int64_t all_rows_ = 1;
  double largest_ = 0;
};

}  // namespace bitfall
