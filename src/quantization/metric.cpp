#include "bitfall/metric.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/errors.hpp"
#include "quantization/spd_solve.hpp"

namespace bitfall {
std::string_view to_string(Metric metric) {
  constexpr std::array<std::string_view, 4> names = {"euclidean", "activation", "blockwise", "full"};
  return names.at(static_cast<std::size_t>(metric));
}

Metric metric_from_string(std::string_view name) {
  for (const Metric metric : {Metric::euclidean, Metric::activation, Metric::blockwise, Metric::full})
    if (name == to_string(metric)) return metric;
  throw UsageError("unknown metric '" + std::string(name) +
                   "': choose euclidean, activation, blockwise or full");
}

Whitening Whitening::identity(std::int64_t d) {
  BITFALL_ASSERT(d >= 1, "d = " + std::to_string(d));
  Whitening whitening;
  whitening.d_ = d;
  return whitening;
}

Whitening Whitening::from_gram(std::span<const double> gram, std::int64_t d) {
  Whitening whitening = identity(d);
  const auto size = static_cast<std::size_t>(d);
  BITFALL_ASSERT(gram.size() == size * size, "gram has " + std::to_string(gram.size()) + " values");
  if (!std::all_of(gram.begin(), gram.end(), [](double g) { return std::isfinite(g); }))
    throw DataError("the Gram matrix of the layer's inputs has a NaN or an infinity");
  double largest = 0;
  for (std::size_t i = 0; i < size; ++i) largest = std::max(largest, gram[i * size + i]);
  if (!(largest > 0)) {
    whitening.degenerate_ = true;
    return whitening;
  }
  // Scaled to trace d. Divided by the largest entry first: the trace itself could overflow.
  std::vector<double> scaled(size * size);
  double trace = 0;
  for (std::size_t i = 0; i < size; ++i) trace += gram[i * size + i] / largest;
  const double mean = trace / static_cast<double>(d);
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] = gram[i] / largest / mean;
  constexpr double ridge = 1e-7;
  for (std::size_t i = 0; i < size; ++i) scaled[i * size + i] += ridge;
  cholesky(scaled, d, ridge);
  whitening.identity_ = false;
  whitening.factor_.assign(size * size, 0.0f);
  for (std::size_t row = 0; row < size; ++row)
    for (std::size_t column = 0; column <= row; ++column)
      whitening.factor_[row * size + column] = static_cast<float>(scaled[row * size + column]);
  return whitening;
}

void Whitening::apply(std::span<const float> blocks, std::span<float> out) const {
  const auto d = static_cast<std::size_t>(d_);
  BITFALL_ASSERT(blocks.size() == out.size() && blocks.size() % d == 0, "sizes of the blocks");
  if (identity_) {
    std::copy(blocks.begin(), blocks.end(), out.begin());
    return;
  }
  // out_i = L_ii v_i + L_(i+1)i v_(i+1) + ...: each product rounded, each sum rounded, in this order. Sixteen
  // blocks side by side, so that compilers make vectors of the inner loop.
  constexpr std::size_t side = 16;
  const std::size_t rows = blocks.size() / d;
  std::vector<float> columns(d * side, 0.0f), sums(d * side);
  for (std::size_t first = 0; first < rows; first += side) {
    const std::size_t count = std::min(side, rows - first);
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t j = 0; j < d; ++j) columns[j * side + r] = blocks[(first + r) * d + j];
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t i = 0; i <= j; ++i)
        for (std::size_t r = 0; r < side; ++r)
          sums[i * side + r] += factor_[j * d + i] * columns[j * side + r];
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t i = 0; i < d; ++i) out[(first + r) * d + i] = sums[i * side + r];
  }
}

}  // namespace bitfall
