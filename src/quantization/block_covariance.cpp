#include "quantization/block_covariance.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// The lower triangle of W^T W, mirrored. Tiles of 4 x 32 columns: each row of the weight gives 36 loads for
/// 128 multiply-adds, and the sums of a tile stay in registers.
std::vector<float> second_moments(std::span<const float> weight, std::size_t rows, std::size_t columns) {
  constexpr std::size_t tall = 4, wide = 32;
  std::vector<float> moments(columns * columns);
  for (std::size_t right = 0; right < columns; right += wide) {
    const std::size_t width = std::min(wide, columns - right);
    std::vector<float> panel(rows * wide, 0.0f);  // 64 KiB for 512 rows
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(weight.data() + r * columns + right, width, panel.data() + r * wide);
    for (std::size_t left = right / tall * tall; left < columns; left += tall) {
      const std::size_t height = std::min(tall, columns - left);
      std::array<std::array<float, wide>, tall> sums{};
      for (std::size_t r = 0; r < rows; ++r) {
        const float* row = weight.data() + r * columns + left;
        const float* other = panel.data() + r * wide;
        for (std::size_t i = 0; i < height; ++i)
          for (std::size_t j = 0; j < wide; ++j) sums[i][j] += row[i] * other[j];
      }
      for (std::size_t i = 0; i < height; ++i) {
        for (std::size_t j = 0; j < width; ++j) {
          moments[(left + i) * columns + right + j] = sums[i][j];
          moments[(right + j) * columns + left + i] = sums[i][j];
        }
      }
    }
  }
  return moments;
}

}  // namespace

BlockCovariance::BlockCovariance(std::span<const float> weight, std::int64_t rows, std::int64_t d,
                                 double ridge)
    : rows_(rows),
      columns_(static_cast<std::int64_t>(weight.size()) / rows),
      d_(d),
      moments_(second_moments(weight, static_cast<std::size_t>(rows), static_cast<std::size_t>(columns_))),
      column_sums_(static_cast<std::size_t>(columns_), 0.0),
      order_(static_cast<std::size_t>(columns_)),
      sums_(static_cast<std::size_t>(d * d)),
      means_(static_cast<std::size_t>(d)) {
  BITFALL_ASSERT(columns_ % d == 0, "blocks that do not fill a row");
  for (std::size_t i = 0; i < weight.size(); ++i)
    column_sums_[i % static_cast<std::size_t>(columns_)] += double(weight[i]);
  std::iota(order_.begin(), order_.end(), std::int64_t{0});
  sum_all();
  // A weight of zeros has no order that is better than another.
  ridge_ = total_moment() > 0 ? ridge * total_moment() / double(columns_) : 1.0;
}

double BlockCovariance::column_moment(std::int64_t column) const {
  return double(moments_[static_cast<std::size_t>(column * columns_ + column)]) / double(rows_);
}

double BlockCovariance::total_moment() const {
  double sum = 0;
  for (std::int64_t c = 0; c < columns_; ++c) sum += column_moment(c);
  return sum;
}

void BlockCovariance::sum_all() {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  std::fill(means_.begin(), means_.end(), 0.0);
  for (std::int64_t block = 0; block < columns_ / d_; ++block) add_block(block, 1);
}

void BlockCovariance::set_order(std::vector<std::int64_t> order) {
  BITFALL_ASSERT(order.size() == order_.size(), "an order of another weight");
  order_ = std::move(order);
  sum_all();
}

void BlockCovariance::add_block(std::int64_t block, double sign) {
  const auto d = static_cast<std::size_t>(d_);
  const std::int64_t* places = order_.data() + block * d_;
  for (std::size_t a = 0; a < d; ++a) {
    const float* row = moments_.data() + places[a] * columns_;
    for (std::size_t b = 0; b <= a; ++b) sums_[a * d + b] += sign * double(row[places[b]]);
    means_[a] += sign * column_sums_[static_cast<std::size_t>(places[a])];
  }
}

void BlockCovariance::exchange(const Swap& swap) {
  std::swap_ranges(order_.begin() + swap.a, order_.begin() + swap.a + swap.width, order_.begin() + swap.b);
}

void BlockCovariance::swap(Swap swap) {
  const std::int64_t a = std::min(swap.a, swap.b), b = std::max(swap.a, swap.b), width = swap.width;
  BITFALL_ASSERT(a + width <= b, "overlapping columns");
  const std::int64_t a_last = (a + width - 1) / d_, b_last = (b + width - 1) / d_;
  const std::int64_t b_first = std::max(b / d_, a_last + 1);  // a block that has both counts once
  for (const double sign : {-1.0, 1.0}) {
    for (std::int64_t block = a / d_; block <= a_last; ++block) add_block(block, sign);
    for (std::int64_t block = b_first; block <= b_last; ++block) add_block(block, sign);
    if (sign < 0) exchange(swap);
  }
}

void BlockCovariance::save(State& state) const {
  state.sums.assign(sums_.begin(), sums_.end());
  state.means.assign(means_.begin(), means_.end());
}

void BlockCovariance::restore(const State& state, std::span<const Swap> swaps) {
  for (std::size_t i = swaps.size(); i-- > 0;) exchange(swaps[i]);
  std::copy(state.sums.begin(), state.sums.end(), sums_.begin());
  std::copy(state.means.begin(), state.means.end(), means_.begin());
}

/// Cholesky: det = product of the pivots. d^3 / 6 multiply-adds.
double BlockCovariance::log_determinant() const {
  const auto d = static_cast<std::size_t>(d_);
  const std::int64_t positions = columns_ / d_;
  const double n = double(rows_) * double(positions);
  factor_.resize(d * d);
  double sum = 0;
  for (std::size_t a = 0; a < d; ++a) {
    double* row = factor_.data() + a * d;
    for (std::size_t b = 0; b <= a; ++b) {
      const double* other = factor_.data() + b * d;
      double value = (sums_[a * d + b] - means_[a] * means_[b] / n) / n;
      for (std::size_t p = 0; p < b; ++p) value -= row[p] * other[p];
      if (b < a) {
        row[b] = value / other[b];
        continue;
      }
      const double pivot = std::max(value + ridge_, 1e-3 * ridge_);  // C is positive up to rounding
      row[a] = std::sqrt(pivot);
      sum += std::log(pivot);
    }
  }
  return sum;
}

}  // namespace bitfall
