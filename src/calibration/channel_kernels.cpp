#include "calibration/channel_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "calibration/channel_kernels.cpp"
#include <hwy/foreach_target.h>
// clang-format off: highway.h must follow foreach_target.h
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace bitfall::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t lane_count = 8;

template <int power>
double lane_sums(const float* values, std::int64_t length, double center) {
  const hn::CappedTag<double, lane_count> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(wide));
  const auto middle = hn::Set(wide, center);
  const std::int64_t whole = length - length % lane_count;
  double sums[lane_count];
  for (std::int64_t sub = 0; sub < lane_count; sub += lanes) {
    auto sum = hn::Zero(wide);
    for (std::int64_t i = sub; i < whole; i += lane_count) {
      const auto difference = hn::Sub(hn::PromoteTo(wide, hn::LoadU(narrow, values + i)), middle);
      sum = power == 2 ? hn::MulAdd(difference, difference, sum) : hn::Add(sum, difference);
    }
    hn::StoreU(sum, wide, sums + sub);
  }
  double total = 0;
  for (std::int64_t i = whole; i < length; ++i) {
    const double difference = static_cast<double>(values[i]) - center;
    total += power == 2 ? difference * difference : difference;
  }
  for (const double sum : sums) total += sum;
  return total;
}

double centered(const float* values, std::int64_t length, double center, int power) {
  return power == 2 ? lane_sums<2>(values, length, center) : lane_sums<1>(values, length, center);
}

}  // namespace bitfall::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(centered);

}  // namespace

double centered_sum(const float* values, std::int64_t length, double center, int power) {
  return HWY_DYNAMIC_DISPATCH(centered)(values, length, center, power);
}

}  // namespace bitfall
#endif  // HWY_ONCE
