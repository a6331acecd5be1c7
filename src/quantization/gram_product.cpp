// The targets of estep.cpp.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/gram_product.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/estep_simd-inl.hpp"
#include "quantization/gram_product.hpp"

#include <algorithm>
#include <cmath>

#include "bitfall/errors.hpp"

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {

/// `R` rows times two vectors of columns, `depth` more products of each chain: 2 R independent chains.
template <int R>
HWY_INLINE void multiply_columns(const float* in, std::int64_t stride, const float* panel, std::int64_t depth,
                                 float* out) {
  Vector low[R], high[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    low[r] = hn::LoadU(Floats(), out + r * stride);
    high[r] = hn::LoadU(Floats(), out + r * stride + lanes);
  }
  for (std::int64_t p = 0; p < depth; ++p) {
    const Vector a = hn::Load(Floats(), panel + p * PackedGram::panel_columns);
    const Vector b = hn::Load(Floats(), panel + p * PackedGram::panel_columns + lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vector e = hn::Set(Floats(), in[r * stride + p]);
      low[r] = fused_add(e, a, low[r]);
      high[r] = fused_add(e, b, high[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    hn::StoreU(low[r], Floats(), out + r * stride);
    hn::StoreU(high[r], Floats(), out + r * stride + lanes);
  }
}

void multiply_rows(const float* in, std::int64_t rows, std::int64_t stride, const float* panels,
                   std::int64_t depth, float* out) {
  // 16 chains of AVX-512's 32 registers, 8 of the 16 of others
  constexpr int R = lanes == 16 ? 8 : 4;
  // 16 KiB of a panel stay in the first-level cache for all rows.
  constexpr std::int64_t block_depth = 128;
  std::fill_n(out, rows * stride, 0.0f);
  for (std::int64_t first = 0; first < depth; first += block_depth) {
    const std::int64_t count = std::min(block_depth, depth - first);
    for (std::int64_t column = 0; column < stride; column += 2 * lanes) {
      const float* panel = panels +
                           (column / PackedGram::panel_columns * depth + first) * PackedGram::panel_columns +
                           column % PackedGram::panel_columns;
      for (std::int64_t r = 0; r < rows; r += R)
        multiply_columns<R>(in + r * stride + first, stride, panel, count, out + r * stride + column);
    }
  }
}

void add_rows_of(std::span<const PackedGram::RowUpdate> updates, std::int64_t panel_count,
                 const float* panels, std::int64_t depth, std::int64_t first, std::int64_t count) {
  constexpr int vectors = static_cast<int>(PackedGram::panel_columns) / lanes;
  for (std::int64_t panel = 0; panel < panel_count; ++panel) {
    const float* rows = panels + (panel * depth + first) * PackedGram::panel_columns;
    for (const PackedGram::RowUpdate& update : updates) {
      float* target = update.row + panel * PackedGram::panel_columns;
      Vector sum[vectors];
      for (int v = 0; v < vectors; ++v) sum[v] = hn::LoadU(Floats(), target + v * lanes);
      for (std::int64_t i = 0; i < count; ++i) {
        const Vector delta = hn::Set(Floats(), update.delta[i]);
        for (int v = 0; v < vectors; ++v)
          sum[v] =
              fused_add(delta, hn::Load(Floats(), rows + i * PackedGram::panel_columns + v * lanes), sum[v]);
      }
      for (int v = 0; v < vectors; ++v) hn::StoreU(sum[v], Floats(), target + v * lanes);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
HWY_EXPORT(multiply_rows);
HWY_EXPORT(add_rows_of);

PackedGram::PackedGram(std::span<const double> lower, double damping) : damping_(damping) {
  columns_ = static_cast<std::int64_t>(std::llround((std::sqrt(8.0 * double(lower.size()) + 1) - 1) / 2));
  BITFALL_ASSERT(columns_ >= 1 && columns_ * (columns_ + 1) / 2 == static_cast<std::int64_t>(lower.size()),
                 "a triangle has " + std::to_string(lower.size()) + " entries");
  panels_ = (columns_ + panel_columns - 1) / panel_columns;
  double trace = 0;
  for (std::int64_t a = 0; a < columns_; ++a) trace += lower[static_cast<std::size_t>(a * (a + 1) / 2 + a)];
  if (!std::isfinite(trace))
    throw DataError("the Gram matrix of the layer's inputs has a NaN or an infinity");
  if (trace > 0) unit_ = trace / static_cast<double>(columns_);
  const auto entry = [&](std::int64_t a, std::int64_t b) {
    if (a == b)
      return (trace > 0 ? lower[static_cast<std::size_t>(a * (a + 1) / 2 + a)] / unit_ : 1.0) + damping;
    const auto [low, high] = std::minmax(a, b);
    return lower[static_cast<std::size_t>(high * (high + 1) / 2 + low)] / unit_;
  };
  panels_data_.assign(static_cast<std::size_t>(panels_ * columns_ * panel_columns), 0.0f);
  std::vector<double> sums(static_cast<std::size_t>(panels_ * panel_columns), 0.0);
  float* value = panels_data_.data();
  for (std::int64_t first = 0; first < columns_; first += panel_columns) {
    const std::int64_t width = std::min(panel_columns, columns_ - first);
    for (std::int64_t row = 0; row < columns_; ++row, value += panel_columns) {
      for (std::int64_t i = 0; i < width; ++i) {
        const double exact = entry(row, first + i);
        value[i] = static_cast<float>(exact);
        sums[static_cast<std::size_t>(first + i)] += std::abs(exact);
      }
    }
  }
  largest_column_sum_ = *std::max_element(sums.begin(), sums.end());
  if (!std::isfinite(largest_column_sum_))
    throw DataError("the Gram matrix of the layer's inputs has a NaN or an infinity");
}

void PackedGram::multiply(const float* in, std::int64_t rows, float* out) const {
  BITFALL_ASSERT(rows % tile_rows == 0, "whole tiles of rows");
  HWY_DYNAMIC_DISPATCH(multiply_rows)
  (in, rows, padded_columns(), panels_data_.data(), columns_, out);
}

void PackedGram::add_rows(std::span<const RowUpdate> updates, std::int64_t first, std::int64_t count) const {
  HWY_DYNAMIC_DISPATCH(add_rows_of)(updates, panels_, panels_data_.data(), columns_, first, count);
}

}  // namespace bitfall
#endif  // HWY_ONCE
