#include "config_file.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>

#include "bitfall/errors.hpp"
#include "src/quantization/nearest_name.hpp"

namespace bitfall {

namespace {

[[noreturn]] void unknown_key(const std::string& path, const std::string& key,
                              const std::vector<std::string>& known) {
  throw ConfigError(path + ": unknown key '" + key + "'; did you mean '" + nearest_name(key, known) + "'?");
}

std::vector<std::string> option_names(const CLI::App& job) {
  std::vector<std::string> names;
  for (const CLI::Option* option : job.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (name != "help" && name != "config") names.push_back(name);
    }
  }
  return names;
}

std::string text_of(const std::string& path, const std::string& key, const toml::node& value) {
  std::ostringstream text;
  text.precision(std::numeric_limits<double>::max_digits10);
  if (const auto* string = value.as_string()) {
    text << string->get();
  } else if (const auto* integer = value.as_integer()) {
    text << integer->get();
  } else if (const auto* number = value.as_floating_point()) {
    text << number->get();
  } else if (const auto* boolean = value.as_boolean()) {
    text << (boolean->get() ? "true" : "false");
  } else {
    throw ConfigError(path + ": the value of '" + key + "' must be a string, a number or a boolean");
  }
  return text.str();
}

template <class T>
T value_of(const std::string& path, const std::string& key, const toml::node& node, const char* kind) {
  const auto value = node.value_exact<T>();
  if (!value) throw ConfigError(path + ": layer." + key + " must be " + kind);
  return *value;
}

PlanOverride read_override(const std::string& path, const toml::table& table) {
  PlanOverride result;
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    if (key == "pattern") {
      result.pattern = value_of<std::string>(path, key, node, "a string");
    } else if (key == "d") {
      result.d = value_of<std::int64_t>(path, key, node, "an integer");
    } else if (key == "k") {
      result.k = value_of<std::int64_t>(path, key, node, "an integer");
    } else if (key == "quantize") {
      result.quantize = value_of<bool>(path, key, node, "a boolean");
    } else {
      unknown_key(path, "layer." + key, {"layer.pattern", "layer.d", "layer.k", "layer.quantize"});
    }
  }
  if (result.pattern.empty()) throw ConfigError(path + ": a [[layer]] table needs a 'pattern'");
  return result;
}

}  // namespace

ConfigFile read_config_file(const std::string& path, const CLI::App& job) {
  if (!std::filesystem::is_regular_file(path)) {
    throw MissingInputError("the configuration file '" + path + "' does not exist or is no file");
  }
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    throw ConfigError(path + ":" + std::to_string(error.source().begin.line) + ": " +
                      std::string(error.description()));
  }
  const std::vector<std::string> known = option_names(job);
  ConfigFile result;
  for (const auto& [name, node] : table) {
    const std::string key(name.str());
    if (key == "layer") {
      const toml::array* tables = node.as_array();
      if (tables == nullptr || !tables->is_homogeneous(toml::node_type::table)) {
        throw ConfigError(path + ": 'layer' must be an array of tables: [[layer]]");
      }
      for (const auto& entry : *tables) result.overrides.push_back(read_override(path, *entry.as_table()));
      continue;
    }
    if (std::find(known.begin(), known.end(), key) == known.end()) unknown_key(path, key, known);
    result.arguments.push_back("--" + key + "=" + text_of(path, key, node));
  }
  return result;
}

}  // namespace bitfall
