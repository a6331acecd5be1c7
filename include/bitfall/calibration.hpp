#pragma once
/// The depth-first walk over all calibration images, and the statistics gathered on the way.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// Second moments of a layer's unfolded inputs (im2col rows x of the D = C_in/groups*kh*kw columns).
struct Gram {
  std::int64_t d = 0;
  std::int64_t samples = 0;          ///< number of unfolded rows (images * output positions * groups)
  std::vector<double> pooled;        ///< d x d: sum over positions j of G_j = sum x_j x_j^T
  std::vector<double> per_position;  ///< m x d x d, only when asked for
};

class ArrayWork;

struct GramParameters {
  std::int64_t d = 0;
  bool per_position = false;
  int threads = 1;
  /// Names of the local images, in the order of the inputs: an image whose input is NaN or infinite is named
  /// in the error. Empty: by its number.
  std::span<const std::string> image_names = {};
  const ArrayWork* arrays = nullptr;  ///< of the device where the inputs lie; none: on the host
};

/// Gram matrices of `layer` over the local micro-batches' inputs ([N, C, H, W], or [..., C] for linear),
/// summed exactly over threads and ranks (collective). Works through small tiles: no whole im2col is ever in
/// memory. Throws DataError naming the layer and the image when an input is NaN or infinite.
[[nodiscard]] Gram accumulate_gram(const Layer& layer, std::span<const at::Tensor> inputs,
                                   const GramParameters& parameters, const Communicator& communicator);

/// The whole second moment H = sum x x^T of a layer's unfolded inputs.
struct FullGram {
  std::int64_t columns = 0;   ///< D
  std::int64_t samples = 0;   ///< rows x that were summed
  std::vector<double> lower;  ///< entry (a, b <= a) at a (a + 1) / 2 + b
};

struct FullGramParameters {
  /// About how many unfolded rows to sum, as many from each image, at random positions in equal stretches of
  /// its output; 0: all. The positions depend on (seed, stream, image) alone. A convolution of stride 1 of
  /// which half of the positions are wanted gets all of them: shared products make that cheaper.
  std::int64_t rows = 0;
  std::uint64_t seed = 0, stream = 0;
  int threads = 1;
  std::span<const std::string> image_names = {};  ///< as GramParameters
  const ArrayWork* arrays = nullptr;              ///< as GramParameters
};

/// Work: rows * D^2 / 2 multiply-adds; memory: 8 bytes * D^2. Exact sums over threads and ranks, errors as
/// accumulate_gram (collective).
[[nodiscard]] FullGram accumulate_full_gram(const Layer& layer, std::span<const at::Tensor> inputs,
                                            const FullGramParameters& parameters,
                                            const Communicator& communicator);

/// What a layer's output, times `gain`, is added to: [N, rows, H, W] for each local micro-batch. Empty: none.
struct Shortcuts {
  std::span<const at::Tensor> teacher, student;
  std::vector<float> gain;  ///< of each row; a row of gain 0 makes up for nothing
};

/// The output that is wanted of a layer: y = W x_t + (s_t - s_s) / gain, x_t the unfolded inputs in the
/// teacher, s_t and s_s the shortcuts that the output is added to. W x_t is computed from `weight` and
/// `teacher_inputs`, or it is `teacher_outputs` less `bias`.
struct WantedOutput {
  std::span<const float> weight = {};                ///< W
  std::span<const at::Tensor> teacher_inputs = {};   ///< as `inputs` of accumulate_cross_moments
  std::span<const at::Tensor> teacher_outputs = {};  ///< [N, rows, H, W] for each local micro-batch
  at::Tensor bias = {};                              ///< [rows]; undefined: 0
  Shortcuts shortcuts = {};
};

/// B = sum y x_s^T over the rows that accumulate_full_gram sums, x_s the student's unfolded inputs there;
/// rows x D, C order (collective). Empty where the teacher's tensors have not the shapes that the student's
/// inputs call for on all ranks: they have not behind a choice that depends on values, such as a detector's
/// proposals.
[[nodiscard]] std::vector<double> accumulate_cross_moments(const Layer& layer, const WantedOutput& wanted,
                                                           std::span<const at::Tensor> inputs,
                                                           const FullGramParameters& parameters,
                                                           const Communicator& communicator);

/// The d x d blocks on the diagonal of H: G_1 ... G_m.
[[nodiscard]] std::vector<double> diagonal_blocks(const FullGram& gram, std::int64_t d);
/// sum_j G_j of such blocks, in order.
[[nodiscard]] std::vector<double> sum_positions(std::span<const double> per_position, std::int64_t d);

/// What a visitor sees just before a step runs: the input tensor of a batch norm, or of a layer that runs in
/// the step for the first time, for every local micro-batch. A layer that runs several times, in a loop or in
/// several steps, has as many inputs for each.
struct WalkStep {
  std::int64_t step = 0;
  std::optional<std::size_t> layer;  ///< index into Network::layers(); none: the step is a batch norm
  std::span<const at::Tensor> inputs;
  const Network* teacher = nullptr;  ///< WalkParameters::teacher, and its inputs of the step
  std::span<const at::Tensor> teacher_inputs;
  /// In place of the inputs where the teacher, on its own way, has run a step of
  /// Network::is_plain_convolution: what it made.
  std::span<const at::Tensor> teacher_outputs;
  /// Network::shortcut of each, with a teacher and where the step has one and no other uses the layer.
  std::span<const at::Tensor> shortcuts, teacher_shortcuts;
};

/// Mean and (biased) variance of each channel over all images and positions of all ranks, summed exactly in
/// two passes (collective), written to the network's running statistics as batch norm does in training
/// (variance unbiased). With a teacher the statistics are such that the normalised channels have the
/// teacher's mean and variance instead: the only way for a network whose batch norms were folded (mean 0,
/// variance 1).
void reestimate_batch_norm(Network& network, const BatchNormStep& batch_norm, const WalkStep& step,
                           int threads, const Communicator& communicator);

struct WalkParameters {
  int threads = 1;  ///< micro-batches of this rank that run side by side, each single-threaded
  /// Walks along on the same images, step by step, unchanged: the same network before quantization.
  const Network* teacher = nullptr;
};

struct WalkStatistics {
  std::int64_t peak_frontier_bytes = 0;  ///< largest sum of live activations on this rank
};

/// Runs the network over the local micro-batches step by step: every step for all micro-batches before the
/// next one (collective). `before_step` is called on every rank before each batch-norm step and before the
/// first step that uses a layer that can be quantized, and may change the network's tensors. The inputs are
/// consumed. Returns what the network returns for each of the local micro-batches, in order.
std::vector<c10::IValue> walk(const Network& network, std::vector<at::Tensor> micro_batches,
                              const WalkParameters& parameters, const Communicator& communicator,
                              const std::function<void(const WalkStep&)>& before_step,
                              WalkStatistics* statistics = nullptr);

/// Largest number of bytes that the frontier of one image needs between two steps, found by running one zero
/// image of this shape ([C, H, W]).
[[nodiscard]] std::int64_t frontier_bytes_per_image(const Network& network,
                                                    std::span<const std::int64_t> image_shape);

/// What a walk needs beside the network, at its worst moment.
struct WalkMemory {
  std::int64_t frontier_bytes = 0;   ///< values that rest between two steps, of all images of the rank
  std::int64_t workspace_bytes = 0;  ///< more for the micro-batches in flight: outputs, reordered tensors
  [[nodiscard]] std::int64_t bytes() const { return frontier_bytes + workspace_bytes; }
};

/// Predicts the memory of a walk over `images` images of one rank, found by running one micro-batch of zeros
/// and counting what LibTorch allocates in each step. Not collective.
[[nodiscard]] WalkMemory predict_walk_memory(const Network& network,
                                             std::span<const std::int64_t> image_shape, std::int64_t images,
                                             std::int64_t micro_batch, int threads);

}  // namespace bitfall
