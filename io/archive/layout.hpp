#pragma once
/// The names and limits of docs/format.md, in one place.
#include <cstdint>
#include <string_view>

namespace bitfall::layout {

constexpr std::string_view magic = "bitfall";
constexpr std::int64_t version_major = 1;
constexpr std::int64_t version_minor = 0;

constexpr const char* layers = "layers";
constexpr const char* codes = "codes";
constexpr const char* codebooks = "codebooks";
constexpr const char* codebooks_int8 = "codebooks_int8";
constexpr const char* iterations = "iterations";
constexpr const char* kept = "kept";
constexpr const char* kept_data = "kept_data";
constexpr const char* plan = "plan";
constexpr const char* model = "model";
constexpr const char* provenance = "provenance";
constexpr const char* seconds = "provenance_seconds";

/// All uncompressed data of an archive of `file_bytes` together: what a reader has to be ready to allocate.
/// Deflate can make 1,032 bytes of one; real archives expand 1.0 to 2 times.
constexpr std::int64_t most_declared_bytes(std::int64_t file_bytes) {
  return (std::int64_t{64} << 20) + 256 * file_bytes;
}

}  // namespace bitfall::layout
