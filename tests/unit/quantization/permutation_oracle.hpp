#pragma once
/// The definition of what src/quantization/permutation.cpp minimises, without any shortcut.
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "quantization/permutation.hpp"

namespace bitfall::reference {

/// log det(C + ridge) of the covariance of all blocks of the weight with its columns in this order, by
/// Gaussian elimination.
inline double log_determinant(const std::vector<float>& weight, std::int64_t rows, std::int64_t d,
                              double ridge, const std::vector<std::int64_t>& order) {
  const auto columns = static_cast<std::int64_t>(order.size());
  const std::int64_t blocks = rows * columns / d;
  const auto entry = [&](std::int64_t block, std::int64_t i) {
    const std::int64_t row = block / (columns / d), place = block % (columns / d) * d + i;
    return double(weight[std::size_t(row * columns + order[std::size_t(place)])]);
  };
  std::vector<double> mean(std::size_t(d), 0.0);
  std::vector<std::vector<double>> c(std::size_t(d), std::vector<double>(std::size_t(d), 0.0));
  double energy = 0;
  for (std::int64_t b = 0; b < blocks; ++b)
    for (std::int64_t i = 0; i < d; ++i) mean[std::size_t(i)] += entry(b, i) / double(blocks);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t i = 0; i < d; ++i) {
      energy += entry(b, i) * entry(b, i);
      for (std::int64_t j = 0; j < d; ++j)
        c[std::size_t(i)][std::size_t(j)] +=
            (entry(b, i) - mean[std::size_t(i)]) * (entry(b, j) - mean[std::size_t(j)]) / double(blocks);
    }
  }
  for (std::size_t i = 0; i < std::size_t(d); ++i) c[i][i] += ridge * energy / double(rows * columns);
  double sum = 0;
  for (std::size_t p = 0; p < std::size_t(d); ++p) {
    sum += std::log(c[p][p]);
    for (std::size_t i = p + 1; i < std::size_t(d); ++i) {
      const double factor = c[i][p] / c[p][p];
      for (std::size_t j = p; j < std::size_t(d); ++j) c[i][j] -= factor * c[p][j];
    }
  }
  return sum;
}

/// Columns of very different sizes, some of them much alike.
inline std::vector<float> make_weight(std::int64_t rows, std::int64_t columns, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> scale(static_cast<std::size_t>(columns)),
      weight(static_cast<std::size_t>(rows * columns));
  for (float& s : scale) s = std::exp(normal(random));
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const std::size_t column = i % std::size_t(columns);
    weight[i] = scale[column] * normal(random) + (column % 3 == 1 ? 0.9f * weight[i - 1] : 0.0f) + 0.1f;
  }
  return weight;
}

/// Order of a layer's columns when its streams take these orders.
inline std::vector<std::int64_t> column_order(const PermutedLayer& layer,
                                              const std::vector<std::int64_t>& channels,
                                              const ChannelOrders& orders) {
  std::vector<std::int64_t> order(std::size_t(layer.columns()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::int64_t(i);
  for (const ChannelColumns& run : layer.runs) {
    if (orders[run.stream].empty()) continue;
    for (std::int64_t c = 0; c < channels[run.stream]; ++c)
      for (std::int64_t w = 0; w < run.width; ++w)
        order[std::size_t(run.first + c * run.width + w)] =
            run.first + orders[run.stream][std::size_t(c)] * run.width + w;
  }
  return order;
}

}  // namespace bitfall::reference
