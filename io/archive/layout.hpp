#pragma once
/// The names and limits of docs/format.md, in one place.
#include <array>
#include <cstdint>
#include <string_view>

namespace bitfall::layout {

constexpr std::string_view magic = "bitfall";
constexpr std::int64_t version_major = 1;
constexpr std::int64_t version_minor = 0;
constexpr std::int64_t most_dimensions = 8;

constexpr const char* layers = "layers";
constexpr const char* codes = "codes";
constexpr const char* codebooks = "codebooks";
constexpr const char* iterations = "iterations";
constexpr const char* kept = "kept";
constexpr const char* kept_data = "kept_data";
constexpr const char* plan = "plan";
constexpr const char* model = "model";
constexpr const char* provenance = "provenance";
constexpr std::array<const char*, 9> datasets = {layers,    codes, codebooks, iterations, kept,
                                                 kept_data, plan,  model,     provenance};

}  // namespace bitfall::layout
