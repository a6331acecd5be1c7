#include "quantization/blockwise_update.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "parallel/threads.hpp"
#include "quantization/spd_solve.hpp"

namespace bitfall {
namespace {

double total_weight(std::span<const std::int64_t> row_weights) {
  double weight = 0;
  for (const std::int64_t w : row_weights) weight += row_weight_unit * static_cast<double>(w);
  return weight;
}

/// |n_jc G_j| <= weight * entry, and a little for rounding.
FixedPoint scale_of_matrix(const BlockwiseMembers& members) {
  return FixedPoint::for_sum(1.001 * total_weight(members.row_weights) * members.metrics.largest_entry(),
                             members.blocks.positions());
}

/// |G_j s_jc| <= weight * d * entry * |v|
FixedPoint scale_of_vector(const BlockwiseMembers& members) {
  const double bound = 1.001 * total_weight(members.row_weights) * members.metrics.largest_entry() *
                       std::max(1.0, static_cast<double>(members.blocks.d) * members.largest);
  return FixedPoint::for_sum(bound, members.blocks.positions());
}

}  // namespace

BlockwiseUpdate::Worker::Worker(std::int64_t k, std::int64_t d, std::int64_t row)
    : sums(static_cast<std::size_t>(k * row), 0),
      gained(k, d),
      lost(k, d),
      changed(static_cast<std::size_t>(k), 0),
      gram(d) {}

BlockwiseUpdate::BlockwiseUpdate(const BlockwiseMembers& members, std::int64_t k, int threads)
    : members_(members),
      k_(k),
      d_(members.blocks.d),
      triangle_(d_ * (d_ + 1) / 2),
      matrix_scale_(scale_of_matrix(members)),
      vector_scale_(scale_of_vector(members)),
      scales_{std::ldexp(1.0, matrix_scale_.exponent()), std::ldexp(1.0, vector_scale_.exponent())},
      codes_(static_cast<std::size_t>(members.positions.size() * members.blocks.rows), -1),
      workers_(static_cast<std::size_t>(threads), Worker(k, d_, padded_count(triangle_) + padded_count(d_))) {
  for (const std::int64_t w : members.row_weights)
    row_weights_.push_back(row_weight_unit * static_cast<double>(w));
}

void BlockwiseUpdate::update(std::span<const std::int32_t> codes, std::span<float> codebook,
                             const Communicator& communicator) {
  parallel_for_workers(members_.positions.size(), static_cast<int>(workers_.size()),
                       [&](std::int64_t local, int worker) {
                         move_members(local, codes, workers_[static_cast<std::size_t>(worker)]);
                       });
  const std::int64_t row = triangle_ + d_, padded = padded_count(triangle_);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(k_ * row), 0);
  for (const Worker& worker : workers_) {
    const std::int64_t* from = worker.sums.data();
    for (std::int64_t* to = sums.data(); to != sums.data() + k_ * row; from += padded + padded_count(d_)) {
      for (std::int64_t i = 0; i < triangle_; ++i) *to++ += from[i];
      for (std::int64_t i = 0; i < d_; ++i) *to++ += from[padded + i];
    }
  }
  communicator.sum(sums);
  const auto size = static_cast<std::size_t>(row), d = static_cast<std::size_t>(d_);
  for (std::size_t code = 0; code < static_cast<std::size_t>(k_); ++code)
    solve(std::span<const std::int64_t>(sums).subspan(code * size, size), codebook.subspan(code * d, d));
}

/// Brings the sums of one position from the codes of the last update to `codes`.
void BlockwiseUpdate::move_members(std::int64_t local, std::span<const std::int32_t> codes, Worker& worker) {
  const std::int64_t rows = members_.blocks.rows;
  const std::int32_t* after = codes.data() + local * rows;
  std::int32_t* before = codes_.data() + local * rows;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (after[r] == before[r]) continue;
    for (const std::int32_t code : {before[r], after[r]}) {
      if (code < 0 || worker.changed[static_cast<std::size_t>(code)] != 0) continue;
      worker.changed[static_cast<std::size_t>(code)] = 1;
      worker.clusters.push_back(code);
    }
  }
  if (worker.clusters.empty()) return;
  // Sums of clusters are formed anew from all of their members: in doubles, adding and subtracting would
  // leave an error.
  worker.gained_rows.resize(static_cast<std::size_t>(rows));
  worker.lost_rows.resize(static_cast<std::size_t>(rows));
  std::size_t gained = 0, lost = 0;
  for (std::int64_t r = 0; r < rows; ++r) {  // without branches that nobody can predict
    worker.gained_rows[gained] = worker.lost_rows[lost] = static_cast<std::int32_t>(r);
    gained += static_cast<std::size_t>(worker.changed[static_cast<std::size_t>(after[r])]);
    lost += before[r] < 0 ? 0 : static_cast<std::size_t>(worker.changed[static_cast<std::size_t>(before[r])]);
  }
  const float* blocks = members_.blocks.values.data() + (members_.positions.first + local) * rows * d_;
  add_members(blocks, d_, std::span(worker.gained_rows).first(gained), after, row_weights_.data(),
              worker.gained);
  add_members(blocks, d_, std::span(worker.lost_rows).first(lost), before, row_weights_.data(), worker.lost);
  std::copy_n(after, rows, before);
  change_clusters(local, worker);
}

void BlockwiseUpdate::change_clusters(std::int64_t local, Worker& worker) {
  const std::int64_t padded = padded_count(d_), row = padded_count(triangle_) + padded;
  worker.changes.clear();
  for (const std::int32_t code : worker.clusters) {
    const auto c = static_cast<std::size_t>(code);
    worker.changes.push_back({worker.gained.weights[c], worker.lost.weights[c],
                              worker.gained.values.data() + code * padded,
                              worker.lost.values.data() + code * padded, worker.sums.data() + code * row});
  }
  worker.gram.set(members_.metrics.gram(members_.positions.first + local));
  apply_changes(worker.gram, scales_, worker.changes);
  for (const std::int32_t code : worker.clusters) {
    worker.changed[static_cast<std::size_t>(code)] = 0;
    worker.gained.weights[static_cast<std::size_t>(code)] = 0;
    worker.lost.weights[static_cast<std::size_t>(code)] = 0;
  }
  worker.clusters.clear();
}

/// The new codeword from its row of sums over all ranks.
void BlockwiseUpdate::solve(std::span<const std::int64_t> sums, std::span<float> codeword) const {
  const auto d = static_cast<std::size_t>(d_);
  std::vector<double> matrix(d * d), right(d);
  double trace = 0;
  const std::int64_t* next = sums.data();
  for (std::size_t a = 0; a < d; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      matrix[a * d + b] = matrix[b * d + a] = matrix_scale_.to_double(*next++);
    }
    trace += matrix[a * d + a];
  }
  if (!(trace > 0)) return;  // no member, or none at a live position
  for (std::size_t a = 0; a < d; ++a) {
    right[a] = vector_scale_.to_double(*next++);
    for (std::size_t b = 0; b < d; ++b) right[a] -= matrix[a * d + b] * double(codeword[b]);
  }
  const double ridge = 1e-7 * trace / static_cast<double>(d);
  for (std::size_t a = 0; a < d; ++a) matrix[a * d + a] += ridge;
  cholesky(matrix, d_, ridge);
  solve_cholesky(matrix, d_, right);
  for (std::size_t a = 0; a < d; ++a) codeword[a] = static_cast<float>(double(codeword[a]) + right[a]);
}

}  // namespace bitfall
