#include "size_target.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <utility>

#include "bitfall/errors.hpp"

namespace bitfall {

std::int64_t bytes_from_text(const std::string& text) {
  constexpr std::array<std::pair<const char*, double>, 8> units = {{{"", 1},
                                                                    {"b", 1},
                                                                    {"kb", 1e3},
                                                                    {"kib", 0x1p10},
                                                                    {"mb", 1e6},
                                                                    {"mib", 0x1p20},
                                                                    {"gb", 1e9},
                                                                    {"gib", 0x1p30}}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto known = std::find_if(units.begin(), units.end(), [&](const auto& u) { return unit == u.first; });
  const double bytes = known == units.end() ? 0 : number * known->second;
  if (error != std::errc() || !(bytes >= 1) || !(bytes < 0x1p62))
    throw UsageError("--target-size '" + text +
                     "' is no size: give a positive number and B, KB, KiB, MB, MiB, GB or GiB, as in 1.5MiB");
  return static_cast<std::int64_t>(std::floor(bytes));
}

std::int64_t SizeTarget::bytes(const Sizes& sizes) const {
  if (!size.empty() && ratio > 0) throw UsageError("give --target-size or --target-ratio, not both");
  if (!size.empty()) return bytes_from_text(size);
  return static_cast<std::int64_t>(std::floor(static_cast<double>(sizes.original_bytes) / ratio));
}

std::string SizeTarget::text() const {
  if (!size.empty()) return "--target-size " + size;
  char number[32];
  std::snprintf(number, sizeof number, "%g", ratio);
  return std::string("--target-ratio ") + number;
}

void add_size_options(CLI::App& job, SizeTarget& target) {
  job.add_option("--target-size", target.size,
                 "largest archive, e.g. 1.5MiB or 300KB: a search gives every layer its own d and k");
  job.add_option("--target-ratio", target.ratio, "the same as original size in fp32 / size of the archive")
      ->check(CLI::Range(1.0, 1e6));
}

}  // namespace bitfall
