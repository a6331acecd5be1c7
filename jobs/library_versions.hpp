#pragma once
#include <map>
#include <string>

namespace bitfall {

/// Name -> version of the libraries that this program runs with.
[[nodiscard]] std::map<std::string, std::string> library_versions();

}  // namespace bitfall
