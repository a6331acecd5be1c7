#include "stop_request.hpp"

#include <array>
#include <charconv>
#include <csignal>
#include <string_view>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

volatile std::sig_atomic_t signalled = 0;

void remember(int) {
  signalled = 1;
}

double whole_number(std::string_view digits, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0 || value > 1000000000) {
    throw UsageError("'" + text + "' is no duration: write 90, 90s, 15m, 2h, MM:SS, HH:MM:SS or D-HH:MM:SS");
  }
  return static_cast<double>(value);
}

}  // namespace

StopRequest::StopRequest(double limit_seconds) : limit_seconds_(limit_seconds) {
  signalled = 0;
  old_term_ = std::signal(SIGTERM, remember);
  old_user_ = std::signal(SIGUSR2, remember);
}

StopRequest::~StopRequest() {
  std::signal(SIGTERM, old_term_);
  std::signal(SIGUSR2, old_user_);
}

bool StopRequest::here() const {
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  return signalled != 0 || (limit_seconds_ > 0 && passed.count() >= limit_seconds_);
}

double parse_duration_seconds(const std::string& text) {
  std::string_view rest = text;
  double seconds = 0;
  const auto dash = rest.find('-');
  const bool has_days = dash != std::string_view::npos;
  if (has_days) {
    seconds = 86400 * whole_number(rest.substr(0, dash), text);
    rest.remove_prefix(dash + 1);
  }
  if (rest.find(':') == std::string_view::npos && !has_days) {
    double unit = 1;
    if (rest.ends_with('h')) unit = 3600;
    if (rest.ends_with('m')) unit = 60;
    if (rest.ends_with('h') || rest.ends_with('m') || rest.ends_with('s')) rest.remove_suffix(1);
    return unit * whole_number(rest, text);
  }
  std::vector<double> parts;
  for (;;) {
    const auto colon = rest.find(':');
    parts.push_back(whole_number(rest.substr(0, colon), text));
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  if (parts.size() > 3 || (has_days && parts.size() != 3)) return whole_number("", text);
  double clock = 0;
  for (const double part : parts) clock = 60 * clock + part;
  return seconds + clock;
}

}  // namespace bitfall
