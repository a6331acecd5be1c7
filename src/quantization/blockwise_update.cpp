#include "quantization/blockwise_update.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "parallel/threads.hpp"
#include "quantization/spd_solve.hpp"

namespace bitfall {
namespace {

/// Sums over the members of all clusters at one position, and the clusters that have any.
struct PositionSums {
  PositionSums(std::size_t k, std::size_t d) : weights(k, 0), values(k * d, 0.0) {}
  std::vector<std::int64_t> weights;
  std::vector<double> values;
  std::vector<std::size_t> touched;
};

/// A row of sums for each codeword: the lower triangle of A, then b.
struct Row {
  std::size_t d, triangle;
  explicit Row(std::size_t dimension) : d(dimension), triangle(dimension * (dimension + 1) / 2) {}
  [[nodiscard]] std::size_t size() const { return triangle + d; }
};

class Update {
 public:
  explicit Update(const BlockwiseMembers& members)
      : members_(members), row_(static_cast<std::size_t>(members.blocks.d)) {
    double weight = 0;
    for (const std::int64_t w : members.row_weights) weight += row_weight_unit * static_cast<double>(w);
    double largest = 0;
    for (const float v : members.blocks.values) largest = std::max(largest, std::abs(static_cast<double>(v)));
    // |n_jc G_j| <= weight * entry, |G_j s_jc| <= weight * d * entry * |v|, and a little for rounding
    const double bound =
        1.001 * weight * members.metrics.largest_entry() * std::max(1.0, double(row_.d) * largest);
    scale_matrix_ =
        FixedPoint::for_sum(1.001 * weight * members.metrics.largest_entry(), members.blocks.positions());
    scale_vector_ = FixedPoint::for_sum(bound, members.blocks.positions());
  }

  /// Adds one position to `sums` (k rows).
  void add(std::int64_t local, PositionSums& found, std::span<std::int64_t> sums) const {
    collect(local, found);
    const std::span<const double> gram = members_.metrics.gram(members_.positions.first + local);
    for (const std::size_t code : found.touched) {
      std::int64_t* row = sums.data() + code * row_.size();
      const double weight = row_weight_unit * static_cast<double>(found.weights[code]);
      const double* value = found.values.data() + code * row_.d;
      for (std::size_t a = 0; a < row_.d; ++a) {
        double product = 0;
        for (std::size_t b = 0; b < row_.d; ++b) product += gram[a * row_.d + b] * value[b];
        for (std::size_t b = 0; b <= a; ++b)
          *row++ += scale_matrix_.to_integer(weight * gram[a * row_.d + b]);
        sums[code * row_.size() + row_.triangle + a] += scale_vector_.to_integer(product);
      }
      found.weights[code] = 0;
      std::fill_n(found.values.begin() + static_cast<std::ptrdiff_t>(code * row_.d), row_.d, 0.0);
    }
    found.touched.clear();
  }

  /// The new codeword from its row of sums over all ranks.
  void solve(std::span<const std::int64_t> sums, std::span<float> codeword) const {
    const std::size_t d = row_.d;
    std::vector<double> matrix(d * d), right(d);
    double trace = 0;
    const std::int64_t* next = sums.data();
    for (std::size_t a = 0; a < d; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        matrix[a * d + b] = matrix[b * d + a] = scale_matrix_.to_double(*next++);
      }
      trace += matrix[a * d + a];
    }
    if (!(trace > 0)) return;  // no member, or none at a live position
    for (std::size_t a = 0; a < d; ++a) {
      right[a] = scale_vector_.to_double(sums[row_.triangle + a]);
      for (std::size_t b = 0; b < d; ++b) right[a] -= matrix[a * d + b] * double(codeword[b]);
    }
    const double ridge = 1e-7 * trace / static_cast<double>(d);
    for (std::size_t a = 0; a < d; ++a) matrix[a * d + a] += ridge;
    cholesky(matrix, members_.blocks.d, ridge);
    solve_cholesky(matrix, members_.blocks.d, right);
    for (std::size_t a = 0; a < d; ++a) codeword[a] = static_cast<float>(double(codeword[a]) + right[a]);
  }

  [[nodiscard]] const Row& row() const { return row_; }

 private:
  void collect(std::int64_t local, PositionSums& found) const {
    const std::int64_t rows = members_.blocks.rows;
    const float* block =
        members_.blocks.values.data() + (members_.positions.first + local) * rows * members_.blocks.d;
    for (std::int64_t r = 0; r < rows; ++r, block += row_.d) {
      const auto code = static_cast<std::size_t>(members_.codes[static_cast<std::size_t>(local * rows + r)]);
      const std::int64_t weight = members_.row_weights[static_cast<std::size_t>(r)];
      if (found.weights[code] == 0) found.touched.push_back(code);
      found.weights[code] += weight;
      const double factor = row_weight_unit * static_cast<double>(weight);
      double* sums = found.values.data() + code * row_.d;
      for (std::size_t i = 0; i < row_.d; ++i) sums[i] += factor * static_cast<double>(block[i]);
    }
  }

  const BlockwiseMembers& members_;
  Row row_;
  FixedPoint scale_matrix_ = FixedPoint::for_sum(0, 1);
  FixedPoint scale_vector_ = FixedPoint::for_sum(0, 1);
};

}  // namespace

void update_codebook(const BlockwiseMembers& members, int threads, std::span<float> codebook,
                     const Communicator& communicator) {
  const auto d = static_cast<std::size_t>(members.blocks.d);
  const std::size_t k = codebook.size() / d;
  const Update update(members);
  const std::size_t size = k * update.row().size();
  std::vector<std::vector<std::int64_t>> sums(static_cast<std::size_t>(threads));
  std::vector<PositionSums> found(static_cast<std::size_t>(threads), PositionSums(k, d));
  sums[0].assign(size, 0);
  parallel_for_workers(members.positions.size(), threads, [&](std::int64_t local, int worker) {
    auto& own = sums[static_cast<std::size_t>(worker)];
    if (own.empty()) own.assign(size, 0);
    update.add(local, found[static_cast<std::size_t>(worker)], own);
  });
  for (std::size_t worker = 1; worker < sums.size(); ++worker)
    for (std::size_t i = 0; i < sums[worker].size(); ++i) sums[0][i] += sums[worker][i];
  communicator.sum(sums[0]);
  for (std::size_t code = 0; code < k; ++code) {
    update.solve(
        std::span<const std::int64_t>(sums[0]).subspan(code * update.row().size(), update.row().size()),
        codebook.subspan(code * d, d));
  }
}

}  // namespace bitfall
