#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "bitfall/errors.hpp"
#include "quantization/estep_filter.hpp"

namespace bitfall {
namespace {

/// Exponents in which every scale and product of scales is a normal float.
constexpr int largest_exponent = 60;
/// No score of a codeword that could be chosen is so large.
constexpr float beyond_scores = 1e30f;

}  // namespace

FilterTable::FilterTable(std::int64_t k, std::int64_t dimension)
    : padded_k((k + codeword_group - 1) / codeword_group * codeword_group),
      d(dimension),
      pairs((dimension + 1) / 2) {
  words.assign(static_cast<std::size_t>(padded_k * pairs), 0);
  columns.assign(static_cast<std::size_t>(padded_k * (d + 1)), 0.0f);
  half_norms.assign(static_cast<std::size_t>(padded_k), 0.0f);
  uncertainties.assign(half_norms.size(), 0.0f);
}

void FilterTable::set(const CodewordTable& table) {
  BITFALL_ASSERT(table.d == d && table.k <= padded_k, "another codebook");
  double largest_norm2 = 0;
  largest_half_norm = 0;
  never_chosen.clear();
  for (std::int64_t c = 0; c < padded_k; ++c) {
    const float* row = c < table.k ? table.rows.data() + c * (d + 1) : nullptr;
    const float half_norm = row != nullptr ? row[0] : FLT_MAX;
    float* column = columns.data() + c / codeword_group * (d + 1) * codeword_group + c % codeword_group;
    column[0] = half_norm;
    double norm2 = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      column[(j + 1) * codeword_group] = row != nullptr ? row[1 + j] : 0.0f;
      if (row != nullptr) norm2 += static_cast<double>(row[1 + j]) * static_cast<double>(row[1 + j]);
    }
    if (!(std::fabs(half_norm) < beyond_scores)) {
      never_chosen.push_back(c);
      half_norms[static_cast<std::size_t>(c)] = 0;
      continue;
    }
    half_norms[static_cast<std::size_t>(c)] = half_norm;
    largest_half_norm = std::max(largest_half_norm, std::fabs(half_norm));
    largest_norm2 = std::max(largest_norm2, norm2);
  }
  const double largest = std::max(std::sqrt(largest_norm2), 1e-30);
  exponent = std::clamp(14 - std::ilogb(largest), -largest_exponent, largest_exponent);
  if (std::ldexp(largest, exponent) > 32766) --exponent;

  const float scale = std::ldexp(1.0f, exponent);
  // The plain chain of d + 1 roundings is at most this far from the exact score: 2^29 and 2^30 bound h_c and
  // <v, c>, times 2^(s+t). Once for each of the two sides, and 512 for the roundings in float below.
  const double chain = 2.0 * static_cast<double>(d + 4) * 0x1p-24 * (0x1p29 + 0x1.1p30) + 512;
  std::fill(words.begin(), words.end(), 0);
  for (std::int64_t c = 0; c < padded_k; ++c) {
    double sum = 0;
    if (!std::binary_search(never_chosen.begin(), never_chosen.end(), c)) {
      const float* row = table.rows.data() + c * (d + 1) + 1;
      for (std::int64_t j = 0; j < d; ++j) {
        const auto value = static_cast<std::int32_t>(std::lrint(row[j] * scale));
        sum += std::abs(value);
        const auto half = static_cast<std::uint16_t>(-value);
        words[static_cast<std::size_t>(c * pairs + j / 2)] |=
            static_cast<std::int32_t>(static_cast<std::uint32_t>(half) << (j % 2 * 16));
      }
    }
    uncertainties[static_cast<std::size_t>(c)] = static_cast<float>(0.5001 * sum + chain);
  }
}

}  // namespace bitfall
