// The targets are those of estep.cpp, for the same reasons.
#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantization/blockwise_sums.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "hwy/highway.h"
#include "quantization/blockwise_sums.hpp"

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace bitfall {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::CappedTag<double, 8>;
using Integers = hn::RebindToSigned<Doubles>;
using Floats4 = hn::Rebind<float, Doubles>;
constexpr int double_lanes = static_cast<int>(hn::MaxLanes(Doubles()));

void add_block(const float* block, double factor, std::int64_t d, double* sums) {
  std::int64_t i = 0;
  for (; i + double_lanes <= d; i += double_lanes) {
    const auto value = hn::PromoteTo(Doubles(), hn::LoadU(Floats4(), block + i));
    hn::Store(hn::Add(hn::Load(Doubles(), sums + i), hn::Mul(value, hn::Set(Doubles(), factor))), Doubles(),
              sums + i);
  }
  for (; i < d; ++i) sums[i] += static_cast<double>(block[i]) * factor;
}

HWY_INLINE void add_integers(std::span<const std::int64_t> addends, std::int64_t* sums) {
  const auto count = static_cast<std::int64_t>(addends.size());
  std::int64_t i = 0;
  for (; i + double_lanes <= count; i += double_lanes)
    hn::StoreU(hn::Add(hn::LoadU(Integers(), sums + i), hn::LoadU(Integers(), addends.data() + i)),
               Integers(), sums + i);
  for (; i < count; ++i) sums[i] += addends[static_cast<std::size_t>(i)];
}

void add_all(const ClusterTerms& terms, std::span<const std::size_t> codes, const double* values,
             std::int64_t* sums) {
  const std::int64_t d = terms.d, padded = padded_dimension(d);
  const auto triangle = static_cast<std::int64_t>(terms.triangle.size());
  const auto scale = hn::Set(Doubles(), terms.vector_scale);
  for (const std::size_t code : codes) {
    std::int64_t* row = sums + static_cast<std::int64_t>(code) * (triangle + d);
    add_integers(terms.triangle, row);
    row += triangle;
    const double* vector = values + static_cast<std::int64_t>(code) * padded;
    for (std::int64_t a = 0; a < d; a += double_lanes) {
      // product_a = sum_b G_ab s_b in the order of b, each product and each sum rounded
      auto product = hn::Zero(Doubles());
      for (std::int64_t b = 0; b < d; ++b)
        product = hn::Add(product, hn::Mul(hn::Load(Doubles(), terms.columns + b * padded + a),
                                           hn::Set(Doubles(), vector[b])));
      HWY_ALIGN double scaled[double_lanes];
      hn::Store(hn::Mul(product, scale), Doubles(), scaled);
      for (std::int64_t i = 0; i < HWY_MIN(static_cast<std::int64_t>(double_lanes), d - a); ++i)
        row[a + i] += std::llrint(scaled[i]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
HWY_EXPORT(add_block);
HWY_EXPORT(add_all);

void add_scaled_block(const float* block, double factor, std::int64_t d, double* sums) {
  HWY_DYNAMIC_DISPATCH(add_block)(block, factor, d, sums);
}

void add_clusters(const ClusterTerms& terms, std::span<const std::size_t> codes, const double* values,
                  std::int64_t* sums) {
  HWY_DYNAMIC_DISPATCH(add_all)(terms, codes, values, sums);
}

}  // namespace bitfall
#endif  // HWY_ONCE
