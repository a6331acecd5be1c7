#define HWY_DISABLED_TARGETS (~(HWY_AVX2 | HWY_AVX3 | HWY_NEON | HWY_EMU128 | HWY_SCALAR))
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fma_peak.cpp"
#include "hwy/foreach_target.h"
// foreach_target first
#include "fma_peak.hpp"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitfall::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

double run() {
  using Floats = hn::CappedTag<float, 16>;
  constexpr int chains = 12;  // more than latency times throughput; with two operands they fit 16 registers
  constexpr long rounds = 4000000;
  const auto x = hn::Set(Floats(), 0.999f);
  const auto y = hn::Set(Floats(), 1e-4f);
  hn::Vec<Floats> sums[chains];
#pragma GCC unroll 12
  for (int c = 0; c < chains; ++c) sums[c] = hn::Set(Floats(), static_cast<float>(c));
  for (long i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sums[c] = hn::MulAdd(sums[c], x, y);
  // The result is used, so the loop can't be left out.
  HWY_ALIGN float lanes[16];
  volatile float sink = 0;
  for (int c = 0; c < chains; ++c) {
    hn::Store(sums[c], Floats(), lanes);
    sink = sink + lanes[0];
  }
  return static_cast<double>(rounds) * chains * static_cast<double>(hn::MaxLanes(Floats()));
}

}  // namespace HWY_NAMESPACE
}  // namespace bitfall::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall::bench {
HWY_EXPORT(run);
double fma_in_registers() {
  return HWY_DYNAMIC_DISPATCH(run)();
}
}  // namespace bitfall::bench
#endif  // HWY_ONCE
