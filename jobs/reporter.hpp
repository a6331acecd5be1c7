#pragma once
/// What a job says: lines for people on standard error, JSON lines for machines, the result on standard
/// output.
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace bitfall {

/// Rank 0 talks, all others are silent (their calls do nothing).
class Reporter {
 public:
  /// `log_json`: file for JSON lines, empty for none. Throws IoError when it can't be opened.
  Reporter(bool speaks, const std::string& log_json, bool json_on_stdout);

  /// A line for people on standard error, with the time.
  void info(const std::string& text);
  void warning(const std::string& text);
  /// One JSON line: {"event": name, "seconds": since start, ...fields}.
  void event(const std::string& name, nlohmann::json fields);
  /// The last event of a job. With --json the object, otherwise `text`, goes to standard output.
  void result(const nlohmann::json& fields, const std::string& text);

  [[nodiscard]] double seconds() const;

 private:
  bool speaks_;
  bool json_on_stdout_;
  std::ofstream log_;
  std::string log_path_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Adds the seconds of its life to a total: `StageTimer timer(seconds["walk"]);`
class StageTimer {
 public:
  explicit StageTimer(double& total) : total_(total) {}
  ~StageTimer() {
    total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  double& total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace bitfall
