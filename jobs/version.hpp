#pragma once
#include <string>

namespace bitfall {

/// "0.1.0"
[[nodiscard]] std::string version();
/// The git commit of the source tree, "unknown" outside a checkout.
[[nodiscard]] std::string git_commit();
/// Name, version and commit in one line.
[[nodiscard]] std::string version_text();

}  // namespace bitfall
