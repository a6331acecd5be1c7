#pragma once
/// JSON from files that anybody may have written.
#include <nlohmann/json.hpp>
#include <string_view>

namespace bitfall {

/// nlohmann-json parses any depth, but copies, compares and prints by recursion: a file of a megabyte of '['
/// would overflow the stack. Ours nest less than ten deep.
constexpr int deepest_json = 100;

/// The value; a discarded one (`is_discarded()`, no type of it is any) where `text` is not JSON or nests
/// deeper than `deepest_json`.
template <class Json = nlohmann::json>
[[nodiscard]] Json parse_bounded_json(std::string_view text) {
  bool too_deep = false;
  const typename Json::parser_callback_t look = [&](int depth, typename Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= deepest_json) too_deep = true;
    return !too_deep;
  };
  Json json = Json::parse(text, look, false);
  if (too_deep) json = Json::value_t::discarded;
  return json;
}

}  // namespace bitfall
