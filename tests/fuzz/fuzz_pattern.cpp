// Overrides of layers by name: the first line is the pattern, the others are the layers. Compared with a
// matcher that is slow and obvious where the pattern has only stars and question marks.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/errors.hpp"
#include "scratch.hpp"
#include "src/quantization/plan_overrides.hpp"

using namespace bitfall;

namespace {

/// Whether the pattern matches the name: table[i][j] says it of the first i and j characters.
bool matches(std::string_view pattern, std::string_view name) {
  std::vector<std::vector<bool>> table(pattern.size() + 1, std::vector<bool>(name.size() + 1, false));
  table[0][0] = true;
  for (std::size_t i = 1; i <= pattern.size(); ++i) {
    for (std::size_t j = 0; j <= name.size(); ++j) {
      if (pattern[i - 1] == '*')
        table[i][j] = table[i - 1][j] || (j > 0 && table[i][j - 1]);
      else
        table[i][j] =
            j > 0 && table[i - 1][j - 1] && (pattern[i - 1] == '?' || pattern[i - 1] == name[j - 1]);
    }
  }
  return table[pattern.size()][name.size()];
}

bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c < ' ' || c > '~' || c == '[' || c == '\\') return false;
  }
  return true;
}

std::vector<Layer> layers_of(std::string_view text) {
  std::vector<Layer> layers;
  while (!text.empty()) {
    Layer& layer = layers.emplace_back();
    const auto end = text.find('\n');
    layer.name = std::string(text.substr(0, end));
    layer.weight_shape = {8, 8};
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return layers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::as_text(data, size);
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return 0;
  PlanOverride entry;
  entry.pattern = std::string(text.substr(0, end));
  entry.k = 4;
  const std::vector<Layer> layers = layers_of(text.substr(end + 1));
  bool any = false;
  for (const Layer& layer : layers) {
    const bool matched = merge_overrides(std::span(&entry, 1), layer).k.has_value();
    any = any || matched;
    if (is_plain(entry.pattern) && is_plain(layer.name) && matched != matches(entry.pattern, layer.name))
      fuzz::fail("'" + entry.pattern + "' against '" + layer.name + "'");
  }
  try {
    check_overrides(std::span(&entry, 1), layers);
    if (!any) fuzz::fail("a pattern that matches nothing was accepted");
  } catch (const ConfigError& error) {
    if (any) fuzz::fail(error.what());
  }
  return 0;
}
