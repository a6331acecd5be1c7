#include "quantization/position_metrics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "bitfall/errors.hpp"

namespace bitfall {

PositionMetrics::PositionMetrics(std::span<const double> grams, std::int64_t d)
    : d_(d), grams_(grams.begin(), grams.end()) {
  const auto size = static_cast<std::size_t>(d * d);
  BITFALL_ASSERT(d >= 1 && !grams.empty() && grams.size() % size == 0, "Gram matrices of all positions");
  const std::size_t positions = grams.size() / size;
  double traces = 0;
  for (std::size_t j = 0; j < positions; ++j) {
    const std::span<const double> gram = grams.subspan(j * size, size);
    whitenings_.push_back(Whitening::from_gram(gram, d));  // refuses NaN and infinity
    double trace = 0;
    for (std::int64_t i = 0; i < d; ++i) trace += gram[static_cast<std::size_t>(i * d + i)];
    weights_.push_back(whitenings_.back().is_degenerate() ? 0.0 : trace / static_cast<double>(d));
    traces += weights_.back();
  }
  if (traces > 0) unit_ = traces / static_cast<double>(positions);
  for (double& weight : weights_) weight /= unit_;
  for (double& entry : grams_) {
    entry /= unit_;
    largest_ = std::max(largest_, std::abs(entry));
  }
}

}  // namespace bitfall
