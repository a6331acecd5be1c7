#pragma once
/// An archive in words: what `bitfall inspect` shows.
#include <string>

#include "bitfall/archive.hpp"

namespace bitfall {

/// One JSON object: "layers" [{name, kind, shape, d, k, n, metric, codes_bytes, codebook_bytes, iterations,
/// first_objective, last_objective}], "bytes" by part, "kept_tensors", "content_sha256", "plan",
/// "provenance".
[[nodiscard]] std::string describe_json(const Archive& archive, const ArchiveBytes& bytes);
/// The same for people.
[[nodiscard]] std::string describe_table(const Archive& archive, const ArchiveBytes& bytes);

}  // namespace bitfall
