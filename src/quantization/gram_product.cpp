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

/// `R` rows times two vectors of columns: 2 R independent chains.
template <int R>
HWY_INLINE void multiply_columns(const float* in, std::int64_t stride, const float* panel, std::int64_t depth,
                                 float* out) {
  Vector low[R], high[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) low[r] = high[r] = hn::Zero(Floats());
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

void multiply_tile(const float* in, std::int64_t stride, const float* panels, std::int64_t depth,
                   float* out) {
  // 16 chains of AVX-512's 32 registers, 8 of the 16 of others
  constexpr int R = lanes == 16 ? 8 : 4;
  for (std::int64_t column = 0; column < stride; column += 2 * lanes) {
    const float* panel = panels + column / PackedGram::panel_columns * PackedGram::panel_columns * depth +
                         column % PackedGram::panel_columns;
    for (int r = 0; r < PackedGram::tile_rows; r += R)
      multiply_columns<R>(in + r * stride, stride, panel, depth, out + r * stride + column);
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
HWY_EXPORT(multiply_tile);
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
  panels_data_.assign(static_cast<std::size_t>(panels_ * columns_ * panel_columns), 0.0f);
  std::vector<double> sums(static_cast<std::size_t>(columns_), 0.0);
  const auto put = [&](std::int64_t row, std::int64_t column, double value) {
    panels_data_[static_cast<std::size_t>((column / panel_columns * columns_ + row) * panel_columns +
                                          column % panel_columns)] = static_cast<float>(value);
    sums[static_cast<std::size_t>(column)] += std::abs(value);
  };
  const double* entry = lower.data();
  for (std::int64_t a = 0; a < columns_; ++a) {
    for (std::int64_t b = 0; b < a; ++b, ++entry) {
      put(a, b, *entry / unit_);
      put(b, a, *entry / unit_);
    }
    put(a, a, (trace > 0 ? *entry++ / unit_ : 1.0) + damping);
  }
  largest_column_sum_ = *std::max_element(sums.begin(), sums.end());
  if (!std::isfinite(largest_column_sum_))
    throw DataError("the Gram matrix of the layer's inputs has a NaN or an infinity");
}

void PackedGram::multiply(const float* in, float* out) const {
  HWY_DYNAMIC_DISPATCH(multiply_tile)(in, padded_columns(), panels_data_.data(), columns_, out);
}

void PackedGram::add_rows(std::span<const RowUpdate> updates, std::int64_t first, std::int64_t count) const {
  HWY_DYNAMIC_DISPATCH(add_rows_of)(updates, panels_, panels_data_.data(), columns_, first, count);
}

}  // namespace bitfall
#endif  // HWY_ONCE
