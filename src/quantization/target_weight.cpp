#include "quantization/target_weight.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t tile = PackedGram::tile_rows;

/// Conjugate gradients for a tile of rows at once, each with its own steps.
class RowSolver {
 public:
  RowSolver(const PackedGram& gram, double damping)
      : gram_(gram), damping_(damping), stride_(static_cast<std::size_t>(gram.padded_columns())) {
    for (AlignedVector<float>* buffer : {&change, &residual, &direction, &image_})
      buffer->assign(static_cast<std::size_t>(tile) * stride_, 0.0f);
  }
  AlignedVector<float> change, residual, direction;

  void run(std::int64_t iterations) {
    std::array<double, tile> norms = all_norms();
    const std::array<double, tile> first = norms;
    direction = residual;
    for (std::int64_t i = 0; i < iterations; ++i) {
      gram_.multiply(direction.data(), image_.data());
      for (std::size_t r = 0; r < static_cast<std::size_t>(tile); ++r) {
        const double curvature = dot(direction, image_, r);
        if (!(norms[r] > 1e-10 * first[r]) || !(curvature > 0)) continue;
        const auto step = static_cast<float>(norms[r] / curvature);
        for (std::size_t p = r * stride_; p < (r + 1) * stride_; ++p) {
          change[p] += step * direction[p];
          residual[p] -= step * image_[p];
        }
        const double next = dot(residual, residual, r);
        const auto keep = static_cast<float>(next / norms[r]);
        for (std::size_t p = r * stride_; p < (r + 1) * stride_; ++p)
          direction[p] = residual[p] + keep * direction[p];
        norms[r] = next;
      }
    }
  }

  /// residual = wanted - weight (H' - damping I)
  void start(const AlignedVector<float>& weight, const AlignedVector<double>& wanted) {
    gram_.multiply(weight.data(), image_.data());
    for (std::size_t i = 0; i < residual.size(); ++i)
      residual[i] = static_cast<float>(wanted[i] - double(image_[i]) + damping_ * double(weight[i]));
  }

 private:
  [[nodiscard]] double dot(const AlignedVector<float>& a, const AlignedVector<float>& b,
                           std::size_t r) const {
    double sum = 0;
    for (std::size_t p = r * stride_; p < (r + 1) * stride_; ++p) sum += double(a[p]) * double(b[p]);
    return sum;
  }
  [[nodiscard]] std::array<double, tile> all_norms() const {
    std::array<double, tile> norms{};
    for (std::size_t r = 0; r < norms.size(); ++r) norms[r] = dot(residual, residual, r);
    return norms;
  }

  const PackedGram& gram_;
  double damping_;
  std::size_t stride_;
  AlignedVector<float> image_;
};

}  // namespace

std::vector<float> target_weight(const Problem& problem, const PackedGram& gram,
                                 std::span<const double> wanted, std::int64_t iterations) {
  const WeightBlocks& weight = problem.weight;
  const auto columns = static_cast<std::size_t>(weight.columns());
  const auto stride = static_cast<std::size_t>(gram.padded_columns());
  BITFALL_ASSERT(wanted.size() == weight.values.size(), "wanted outputs of another layer");
  const Communicator::Range share = problem.communicator.share(weight.rows);
  std::vector<float> local(static_cast<std::size_t>(share.size()) * columns);
  parallel_for((share.size() + tile - 1) / tile, problem.threads, [&](std::int64_t index) {
    const std::int64_t first = index * tile;
    const auto rows = static_cast<std::size_t>(std::min(tile, share.size() - first));
    AlignedVector<float> given(static_cast<std::size_t>(tile) * stride, 0.0f);
    AlignedVector<double> right(given.size(), 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t row = (static_cast<std::size_t>(share.first + first) + r) * columns;
      for (std::size_t p = 0; p < columns; ++p) {
        given[r * stride + p] = weight.values[row + p];
        right[r * stride + p] = wanted[row + p] / gram.unit();
      }
    }
    RowSolver solver(gram, gram.damping());
    solver.start(given, right);
    solver.run(iterations);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t p = 0; p < columns; ++p)
        local[(static_cast<std::size_t>(first) + r) * columns + p] =
            given[r * stride + p] + solver.change[r * stride + p];
  });
  return problem.communicator.all_gather(std::span<const float>(local));
}

}  // namespace bitfall
