#include "quantization/target_weight.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

/// Conjugate gradients for some rows at once, each with its own steps.
class RowSolver {
 public:
  /// `rows`: whole tiles.
  RowSolver(const PackedGram& gram, double damping, std::int64_t rows)
      : gram_(gram),
        damping_(damping),
        rows_(rows),
        stride_(static_cast<std::size_t>(gram.padded_columns())) {
    for (AlignedVector<float>* buffer : {&change, &residual, &direction, &image_})
      buffer->assign(static_cast<std::size_t>(rows) * stride_, 0.0f);
  }
  AlignedVector<float> change, residual, direction;

  void run(std::int64_t iterations) {
    std::vector<double> norms = all_norms();
    const std::vector<double> first = norms;
    direction = residual;
    for (std::int64_t i = 0; i < iterations; ++i) {
      gram_.multiply(direction.data(), rows_, image_.data());
      for (std::size_t r = 0; r < norms.size(); ++r) {
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
    gram_.multiply(weight.data(), rows_, image_.data());
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
  [[nodiscard]] std::vector<double> all_norms() const {
    std::vector<double> norms(static_cast<std::size_t>(rows_));
    for (std::size_t r = 0; r < norms.size(); ++r) norms[r] = dot(residual, residual, r);
    return norms;
  }

  const PackedGram& gram_;
  double damping_;
  std::int64_t rows_;
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
  constexpr std::int64_t tile = PackedGram::tile_rows;
  const std::int64_t group =
      PackedGram::rows_of_group(std::max<std::int64_t>(1, share.size()), problem.threads);
  parallel_for((share.size() + group - 1) / group, problem.threads, [&](std::int64_t index) {
    const std::int64_t first = index * group;
    const auto rows = static_cast<std::size_t>(std::min(group, share.size() - first));
    const std::int64_t padded = (static_cast<std::int64_t>(rows) + tile - 1) / tile * tile;
    AlignedVector<float> given(static_cast<std::size_t>(padded) * stride, 0.0f);
    AlignedVector<double> right(given.size(), 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t row = (static_cast<std::size_t>(share.first + first) + r) * columns;
      for (std::size_t p = 0; p < columns; ++p) {
        given[r * stride + p] = weight.values[row + p];
        right[r * stride + p] = wanted[row + p] / gram.unit();
      }
    }
    RowSolver solver(gram, gram.damping(), padded);
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
