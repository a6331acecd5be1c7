#pragma once
/// "Did you mean ...?": the known name that is nearest to a mistyped one.
#include <span>
#include <string>
#include <string_view>

namespace bitfall {

/// The candidate with the smallest Levenshtein distance to `word`, the first of equals; empty without
/// candidates.
[[nodiscard]] std::string nearest_name(std::string_view word, std::span<const std::string> candidates);

}  // namespace bitfall
