#pragma once
/// An archive in words: what `bitfall inspect` shows.
#include <string>

#include "bitfall/archive.hpp"

namespace bitfall {

/// One JSON object: "content_sha256", "layers" [{name, weight, kind, shape, groups, d, k, n, metric,
/// code_bits, codes_bytes, coding, coded_bytes, entropy_bits, codebook_type, codebook_bytes, codes_sha256,
/// codebook_sha256, iterations, first_objective, last_objective}], "kept_tensors" (their number), "kept"
/// [{name, dtype, stored_dtype, shape, bytes, sha256}], "bytes" by part as in ArchiveBytes, "information"
/// (the plan's sizes; null when it has none), "plan" and "provenance". Objectives are null without
/// iterations. codes_bytes is what ceil(log2 k) bits a code take, coded_bytes what the file has; entropy_bits
/// is the codes' order-0 entropy, in bits a code.
[[nodiscard]] std::string describe_json(const Archive& archive, const ArchiveBytes& bytes);

/// The layers and the bytes of each part for people; no line break at the end.
[[nodiscard]] std::string describe_table(const Archive& archive, const ArchiveBytes& bytes);

}  // namespace bitfall
