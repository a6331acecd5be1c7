#include "quantization/full_descent.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "parallel/threads.hpp"
#include "quantization/estep.hpp"

namespace bitfall {

FullDescent::FullDescent(const Problem& problem, const PackedGram& gram)
    : d_(problem.weight.d),
      m_(problem.weight.positions()),
      gram_(gram),
      row_weights_(problem.row_weights),
      threads_(useful_threads(static_cast<std::int64_t>(problem.weight.values.size()) * gram.columns(),
                              problem.threads)),
      communicator_(problem.communicator),
      share_(communicator_.share(problem.weight.rows)),
      rows_(problem.weight.rows),
      stride_(gram.padded_columns()),
      exponent_(measure_blocks(problem.weight.values, d_).exponent) {
  const WeightBlocks& weight = problem.weight;
  BITFALL_ASSERT(gram.columns() == weight.columns(), "Gram matrix of another layer");
  // Whole tiles, the rows beyond the last one being zero.
  const std::int64_t padded = (local_rows() + group_points - 1) / group_points * group_points;
  weights_.assign(static_cast<std::size_t>(padded * stride_), 0.0f);
  products_.assign(weights_.size(), 0.0f);
  const double factor = std::ldexp(1.0, exponent_);
  for (std::int64_t r = 0; r < local_rows(); ++r) {
    const float* from = weight.values.data() + (share_.first + r) * weight.columns();
    for (std::int64_t p = 0; p < weight.columns(); ++p)
      weights_[static_cast<std::size_t>(r * stride_ + p)] = static_cast<float>(double(from[p]) * factor);
  }
  for (std::int64_t j = 0; j < m_; ++j)
    for (std::int64_t a = 0; a < d_; ++a)
      for (std::int64_t b = 0; b < d_; ++b) diagonal_.push_back(gram.at(j * d_ + a, j * d_ + b));
}

void FullDescent::start(std::span<const float> codebook, std::span<const std::int32_t> codes) {
  const auto first = codes.begin() + share_.first * m_;
  codes_.assign(first, first + local_rows() * m_);
  k_ = static_cast<std::int64_t>(codebook.size()) / d_;
  set_codebook(codebook);
}

void FullDescent::set_codebook(std::span<const float> codebook) {
  replace_codebook(codebook);
  refresh();
}

void FullDescent::replace_codebook(std::span<const float> codebook) {
  codebook_.assign(codebook.begin(), codebook.end());
  scaled_.resize(codebook_.size());
  const double factor = std::ldexp(1.0, exponent_);
  for (std::size_t i = 0; i < codebook_.size(); ++i)
    scaled_[i] = static_cast<float>(static_cast<double>(codebook_[i]) * factor);
}

void FullDescent::decode_row(std::int64_t row, std::span<const float> codebook, float* out) const {
  for (std::int64_t j = 0; j < m_; ++j) {
    const std::int64_t code = codes_[static_cast<std::size_t>(row * m_ + j)];
    std::copy_n(codebook.data() + code * d_, d_, out + j * d_);
  }
}

void FullDescent::multiply(const std::function<void(std::int64_t row, float* out)>& fill,
                           AlignedVector<float>& products) const {
  constexpr std::int64_t tile = PackedGram::tile_rows;
  const std::int64_t group = PackedGram::rows_of_group(std::max<std::int64_t>(1, local_rows()), threads_);
  const std::int64_t padded = (local_rows() + tile - 1) / tile * tile;
  parallel_for((padded + group - 1) / group, threads_, [&](std::int64_t index) {
    const std::int64_t first = index * group;
    const std::int64_t rows = std::min(group, padded - first);
    AlignedVector<float> in(static_cast<std::size_t>(rows * stride_), 0.0f);
    for (std::int64_t r = 0; r < std::min(rows, local_rows() - first); ++r)
      fill(first + r, in.data() + r * stride_);
    gram_.multiply(in.data(), rows, products.data() + first * stride_);
  });
}

void FullDescent::refresh() {
  multiply(
      [&](std::int64_t row, float* out) {
        const float* weight = weights_.data() + row * stride_;
        decode_row(row, scaled_, out);
        for (std::int64_t p = 0; p < gram_.columns(); ++p) out[p] = weight[p] - out[p];
      },
      products_);
}

double FullDescent::objective() const {
  std::vector<double> errors(static_cast<std::size_t>(local_rows()));
  std::vector<float> row(static_cast<std::size_t>(stride_));
  double largest = 0;
  for (std::int64_t r = 0; r < local_rows(); ++r) {
    decode_row(r, scaled_, row.data());
    const float* weight = weights_.data() + r * stride_;
    const float* product = products_.data() + r * stride_;
    double error = 0;
    for (std::int64_t p = 0; p < gram_.columns(); ++p)
      error += double(weight[p] - row[static_cast<std::size_t>(p)]) * double(product[p]);
    error *= row_weight_unit * double(row_weights_[static_cast<std::size_t>(share_.first + r)]);
    errors[static_cast<std::size_t>(r)] = error;
    largest = std::max(largest, std::abs(error));
  }
  const FixedPoint scale = FixedPoint::for_sum(communicator_.max(largest), rows_);
  std::vector<std::int64_t> sum{0};
  for (const double error : errors) sum[0] += scale.to_integer(error);
  communicator_.sum(sum);
  return std::ldexp(scale.to_double(sum[0]) * gram_.unit(), -2 * exponent_);
}

/// What one thread works with in a sweep: 64 rows at a time.
struct FullDescent::Scratch {
  Scratch(std::int64_t k, std::int64_t d, std::span<const float> codebook) : table(k, d) {
    table.set(codebook);
    points.assign(static_cast<std::size_t>(group_points * d), 0.0f);
    deltas.resize(points.size());
    codes.resize(static_cast<std::size_t>(group_points));
    errors.resize(codes.size());
  }
  CodewordTable table;
  AlignedVector<float> points, deltas;
  std::vector<std::int32_t> codes;
  std::vector<float> errors;
  std::vector<PackedGram::RowUpdate> updates;
};

std::vector<float> FullDescent::half_norms(std::span<const float> penalties) const {
  // h_jc = c^T H_jj c / 2
  std::vector<float> half_norms(static_cast<std::size_t>(m_ * k_));
  parallel_for(m_, threads_, [&](std::int64_t j) {
    const float* gram = diagonal_.data() + j * d_ * d_;
    for (std::int64_t c = 0; c < k_; ++c) {
      const float* codeword = scaled_.data() + c * d_;
      double norm = 0;
      for (std::int64_t a = 0; a < d_; ++a) {
        double product = 0;
        for (std::int64_t b = 0; b < d_; ++b) product += double(gram[a * d_ + b]) * double(codeword[b]);
        norm += double(codeword[a]) * product;
      }
      float& half_norm = half_norms[static_cast<std::size_t>(j * k_ + c)];
      half_norm = static_cast<float>(0.5 * norm);
      if (!penalties.empty()) half_norm += penalties[static_cast<std::size_t>(c)];
    }
  });
  return half_norms;
}

std::int64_t FullDescent::sweep(std::span<const float> penalties) {
  const std::vector<float> half_norms = this->half_norms(penalties);
  std::vector<Scratch> scratch(static_cast<std::size_t>(threads_), Scratch(k_, d_, scaled_));
  std::vector<std::int64_t> moved(static_cast<std::size_t>(threads_), 0);
  parallel_for_workers((local_rows() + group_points - 1) / group_points, threads_,
                       [&](std::int64_t group, int worker) {
                         const auto w = static_cast<std::size_t>(worker);
                         sweep_rows(group, half_norms, scratch[w], moved[w]);
                       });
  std::int64_t total = 0;
  for (const std::int64_t count : moved) total += count;
  return total;
}

void FullDescent::sweep_rows(std::int64_t group, std::span<const float> half_norms, Scratch& scratch,
                             std::int64_t& moved) {
  const std::int64_t first = group * group_points;
  const std::int64_t rows = std::min(group_points, local_rows() - first);
  for (std::int64_t j = 0; j < m_; ++j) {
    const float* gram = diagonal_.data() + j * d_ * d_;
    for (std::int64_t c = 0; c < k_; ++c)
      scratch.table.rows[static_cast<std::size_t>(c * (d_ + 1))] =
          half_norms[static_cast<std::size_t>(j * k_ + c)];
    // With all other blocks fixed, the best codeword minimises c^T H_jj c / 2 - <b, c>, b = P_j + H_jj c_old.
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t code = codes_[static_cast<std::size_t>((first + r) * m_ + j)];
      const float* codeword = scaled_.data() + code * d_;
      const float* product = products_.data() + (first + r) * stride_ + j * d_;
      float* point = scratch.points.data() + r / tile_points * d_ * tile_points + r % tile_points;
      for (std::int64_t a = 0; a < d_; ++a) {
        float sum = product[a];
        for (std::int64_t b = 0; b < d_; ++b) sum = sum + gram[a * d_ + b] * codeword[b];
        point[a * tile_points] = sum;
      }
    }
    assign_groups(scratch.points.data(), 1, scratch.table, scratch.codes.data(), scratch.errors.data());
    scratch.updates.clear();
    for (std::int64_t r = 0; r < rows; ++r) {
      std::int32_t& code = codes_[static_cast<std::size_t>((first + r) * m_ + j)];
      const std::int32_t best = scratch.codes[static_cast<std::size_t>(r)];
      if (best == code) continue;
      float* delta = scratch.deltas.data() + r * d_;  // e_new - e_old = c_old - c_new
      for (std::int64_t a = 0; a < d_; ++a)
        delta[a] = scaled_[static_cast<std::size_t>(code * d_ + a)] -
                   scaled_[static_cast<std::size_t>(best * d_ + a)];
      code = best;
      scratch.updates.push_back({products_.data() + (first + r) * stride_, delta});
    }
    moved += static_cast<std::int64_t>(scratch.updates.size());
    gram_.add_rows(scratch.updates, j * d_, d_);
  }
}

std::vector<std::int32_t> FullDescent::all_codes() const {
  return communicator_.all_gather(std::span<const std::int32_t>(codes_));
}

}  // namespace bitfall
