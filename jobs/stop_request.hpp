#pragma once
/// Asked to stop: by a signal, or because the time is up.
#include <chrono>
#include <cstdint>
#include <string>

namespace bitfall {

/// While an object lives, SIGTERM and SIGUSR2 only set a flag (not SIGUSR1, which NCCL uses), and a time
/// limit runs. Ranks agree on it where they meet anyway: none stops alone.
class StopRequest {
 public:
  /// `limit_seconds` from now; 0: none.
  explicit StopRequest(double limit_seconds);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Whether this rank wants to stop.
  [[nodiscard]] bool here() const;

 private:
  void (*old_term_)(int);
  void (*old_user_)(int);
  double limit_seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// "90", "90s", "15m", "2h", "MM:SS", "HH:MM:SS" or Slurm's "D-HH:MM:SS" in seconds. Throws UsageError.
[[nodiscard]] double parse_duration_seconds(const std::string& text);

}  // namespace bitfall
