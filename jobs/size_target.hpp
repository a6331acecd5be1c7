#pragma once
/// --target-size and --target-ratio: how large the archive may become.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>

#include "bitfall/plan.hpp"

namespace bitfall {

/// "1.5MiB" -> 1572864. Units: B, KB, KiB, MB, MiB, GB, GiB, in any case; bytes when there is none. Throws
/// UsageError naming the text and the units.
[[nodiscard]] std::int64_t bytes_from_text(const std::string& text);

struct SizeTarget {
  std::string size;
  double ratio = 0;
  [[nodiscard]] bool is_set() const { return !size.empty() || ratio > 0; }
  /// The largest file that is allowed. Throws UsageError.
  [[nodiscard]] std::int64_t bytes(const Sizes& sizes) const;
  /// As the user wrote it, for messages.
  [[nodiscard]] std::string text() const;
};
void add_size_options(CLI::App& job, SizeTarget& target);

}  // namespace bitfall
