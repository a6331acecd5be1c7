#include "reporter.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

namespace bitfall {

namespace {

spdlog::logger& console() {
  static const auto logger = [] {
    auto made =
        std::make_shared<spdlog::logger>("bitfall", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%H:%M:%S %^%v%$");
    return made;
  }();
  return *logger;
}

}  // namespace

Reporter::Reporter(bool speaks, const std::string& log_json, bool json_on_stdout)
    : speaks_(speaks), json_on_stdout_(json_on_stdout) {
  if (!speaks_ || log_json.empty()) return;
  log_ = std::make_unique<LineFile>(log_json);
}

void Reporter::info(const std::string& text) {
  if (speaks_) console().info("{}", text);
}

void Reporter::warning(const std::string& text) {
  if (!speaks_) return;
  console().warn("warning: {}", text);
  event("warning", {{"text", text}});
}

void Reporter::progress(const std::string& stage, std::int64_t done, std::int64_t total,
                        const std::string& text) {
  if (!speaks_) return;
  const double now = seconds();
  if (progress_.stage != stage) progress_ = {stage, done, now, 0};
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  const double interval = terminal ? 0.2 : 30;
  if (done < total && progress_.shown_seconds > 0 && now - progress_.shown_seconds < interval) return;
  progress_.shown_seconds = now;
  std::string left;
  if (done > progress_.first && done < total) {
    const double each = (now - progress_.begin_seconds) / static_cast<double>(done - progress_.first);
    left = fmt::format(", {:.0f} s left", each * static_cast<double>(total - done));
  }
  const auto filled = static_cast<std::size_t>(20 * done / total);
  const std::string line = fmt::format("{} {}/{} [{}{}] {}{}", stage, done, total, std::string(filled, '#'),
                                       std::string(20 - filled, '.'), text, left);
  if (!terminal) return info(line);
  std::cerr << '\r' << line << "\x1b[K" << (done == total ? "\n" : "") << std::flush;
}

void Reporter::event(const std::string& name, const nlohmann::json& fields) {
  if (!speaks_ || !log_) return;
  nlohmann::json line = {{"event", name}, {"seconds_since_start", seconds()}};
  line.update(fields);
  log_->add(line.dump());
}

void Reporter::result(const nlohmann::json& fields, const std::string& text) {
  if (!speaks_) return;
  event("result", fields);
  std::cout << (json_on_stdout_ ? fields.dump(2) : text) << std::endl;
}

double Reporter::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace bitfall
