#include "quantization/blockwise_update.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "bitfall/exact_sum.hpp"
#include "parallel/threads.hpp"
#include "quantization/blockwise_sums.hpp"
#include "quantization/spd_solve.hpp"

namespace bitfall {
namespace {

/// Sums over the members of all clusters at one position, and the clusters that have any.
struct PositionSums {
  PositionSums(std::size_t k, std::int64_t d)
      : weights(k, 0), values(k * static_cast<std::size_t>(padded_dimension(d)), 0.0) {}
  std::vector<std::int64_t> weights;
  AlignedVector<double> values;  ///< rows of padded_dimension(d)
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
    // |n_jc G_j| <= weight * entry, |G_j s_jc| <= weight * d * entry * |v|, and a little for rounding
    const double bound =
        1.001 * weight * members.metrics.largest_entry() * std::max(1.0, double(row_.d) * members.largest);
    scale_matrix_ =
        FixedPoint::for_sum(1.001 * weight * members.metrics.largest_entry(), members.blocks.positions());
    scale_vector_ = FixedPoint::for_sum(bound, members.blocks.positions());
  }

  /// Adds one position to `sums` (k rows).
  void add(std::int64_t local, PositionSums& found, std::span<std::int64_t> sums) const {
    collect(local, found);
    const auto d = static_cast<std::int64_t>(row_.d), padded = padded_dimension(d);
    const std::span<const double> gram = members_.metrics.gram(members_.positions.first + local);
    AlignedVector<double> columns(static_cast<std::size_t>(d * padded), 0.0);
    for (std::int64_t a = 0; a < d; ++a)
      for (std::int64_t b = 0; b < d; ++b)
        columns[static_cast<std::size_t>(b * padded + a)] = gram[static_cast<std::size_t>(a * d + b)];
    // Clusters of one weight add the same matrix: it is rounded once for all of them.
    std::sort(found.touched.begin(), found.touched.end(),
              [&](std::size_t x, std::size_t y) { return found.weights[x] < found.weights[y]; });
    std::vector<std::int64_t> triangle(row_.triangle);
    const ClusterTerms terms{d, triangle, columns.data(), std::ldexp(1.0, scale_vector_.exponent())};
    const std::span<const std::size_t> touched(found.touched);
    for (std::size_t first = 0, last = 0; first < touched.size(); first = last) {
      const std::int64_t weight = found.weights[touched[first]];
      while (last < touched.size() && found.weights[touched[last]] == weight) ++last;
      round_triangle(gram, row_weight_unit * static_cast<double>(weight), triangle);
      add_clusters(terms, touched.subspan(first, last - first), found.values.data(), sums.data());
    }
    for (const std::size_t code : touched) {
      found.weights[code] = 0;
      std::fill_n(found.values.begin() + static_cast<std::int64_t>(code) * padded, d, 0.0);
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
  void round_triangle(std::span<const double> gram, double weight, std::span<std::int64_t> triangle) const {
    std::size_t next = 0;
    for (std::size_t a = 0; a < row_.d; ++a)
      for (std::size_t b = 0; b <= a; ++b)
        triangle[next++] = scale_matrix_.to_integer(weight * gram[a * row_.d + b]);
  }

  void collect(std::int64_t local, PositionSums& found) const {
    const std::int64_t rows = members_.blocks.rows, padded = padded_dimension(members_.blocks.d);
    const float* block =
        members_.blocks.values.data() + (members_.positions.first + local) * rows * members_.blocks.d;
    for (std::int64_t r = 0; r < rows; ++r, block += row_.d) {
      const auto code = static_cast<std::size_t>(members_.codes[static_cast<std::size_t>(local * rows + r)]);
      const std::int64_t weight = members_.row_weights[static_cast<std::size_t>(r)];
      if (found.weights[code] == 0) found.touched.push_back(code);
      found.weights[code] += weight;
      const double factor = row_weight_unit * static_cast<double>(weight);
      add_scaled_block(block, factor, members_.blocks.d,
                       found.values.data() + static_cast<std::int64_t>(code) * padded);
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
  std::vector<PositionSums> found(static_cast<std::size_t>(threads), PositionSums(k, members.blocks.d));
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
