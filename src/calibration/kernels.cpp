#include "calibration/kernels.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t columns_at_once = 3;

}  // namespace

__attribute__((target_clones("avx512f", "avx2", "default"))) void add_products(const float* x, std::int64_t d,
                                                                               std::int64_t length, std::int64_t stride,
                                                                               double* out) {
  for (std::int64_t a = 0; a < d; ++a) {
    const float* left = x + a * stride;
    for (std::int64_t b = a; b < d; b += columns_at_once) {
      // Rows past the end repeat the last one; their sums are thrown away.
      const float* r0 = x + b * stride;
      const float* r1 = x + (b + 1 < d ? b + 1 : b) * stride;
      const float* r2 = x + (b + 2 < d ? b + 2 : b) * stride;
      float s0[statistic_lanes] = {}, s1[statistic_lanes] = {}, s2[statistic_lanes] = {};
      for (std::int64_t i = 0; i < length; i += statistic_lanes) {
        for (std::int64_t lane = 0; lane < statistic_lanes; ++lane) {
          s0[lane] += left[i + lane] * r0[i + lane];
          s1[lane] += left[i + lane] * r1[i + lane];
          s2[lane] += left[i + lane] * r2[i + lane];
        }
      }
      const float* sums[columns_at_once] = {s0, s1, s2};
      for (std::int64_t column = 0; column < columns_at_once && b + column < d; ++column) {
        double sum = 0;
        for (std::int64_t lane = 0; lane < statistic_lanes; ++lane) sum += static_cast<double>(sums[column][lane]);
        out[a * d + b + column] += sum;
      }
    }
  }
}

__attribute__((target_clones("avx512f", "avx2", "default"))) double centered_sum(const float* x, std::int64_t length,
                                                                                 double center, int power) {
  double lanes[statistic_lanes] = {};
  const std::int64_t whole = length - length % statistic_lanes;
  for (std::int64_t i = 0; i < whole; i += statistic_lanes) {
    for (std::int64_t lane = 0; lane < statistic_lanes; ++lane) {
      const double difference = static_cast<double>(x[i + lane]) - center;
      lanes[lane] += power == 2 ? difference * difference : difference;
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (std::int64_t i = whole; i < length; ++i) {
    const double difference = static_cast<double>(x[i]) - center;
    sum += power == 2 ? difference * difference : difference;
  }
  return sum;
}

}  // namespace bitfall
