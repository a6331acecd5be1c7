#include "bitfall/exact_sum.hpp"

#include <bit>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

__extension__ using Wide = unsigned __int128;

/// The smallest b with value <= 2^b; value > 0.
int ceil_log2(Wide value) {
  const Wide below = value - 1;
  const auto high = static_cast<std::uint64_t>(below >> 64);
  const auto low = static_cast<std::uint64_t>(below);
  return high != 0 ? 64 + static_cast<int>(std::bit_width(high)) : static_cast<int>(std::bit_width(low));
}

// Beyond these 2^s or 2^-s is not a normal double.
constexpr int largest_exponent = 1022;

}  // namespace

FixedPoint::FixedPoint(int exponent)
    : exponent_(exponent), scale_(std::ldexp(1.0, exponent)), inverse_(std::ldexp(1.0, -exponent)) {}

FixedPoint FixedPoint::for_sum(double largest, std::int64_t addends) {
  if (!std::isfinite(largest)) {
    throw DataError("an exact sum was asked of values that are not finite (largest magnitude " +
                    std::to_string(largest) + "): look for NaN or infinity in the network or the images");
  }
  BITFALL_ASSERT(largest >= 0 && addends >= 0, "FixedPoint::for_sum");
  if (largest == 0 || addends == 0) return FixedPoint(0);
  // largest = mantissa * 2^(power - 53) with an integer mantissa, so the product with `addends` is exact:
  // mantissa * addends <= 2^bits, and s = 62 - bits - (power - 53).
  int power = 0;
  const double fraction = std::frexp(largest, &power);
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
  const int bits = ceil_log2(static_cast<Wide>(mantissa) * static_cast<std::uint64_t>(addends));
  const int exponent = 62 - bits - (power - 53);
  if (exponent < -largest_exponent) {
    throw DataError("an exact sum of " + std::to_string(addends) + " values up to " +
                    std::to_string(largest) + " leaves the range of a double");
  }
  return FixedPoint(exponent < largest_exponent ? exponent : largest_exponent);
}

}  // namespace bitfall
