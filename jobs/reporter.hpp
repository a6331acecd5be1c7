#pragma once
/// What a job says: lines for people on standard error, JSON lines for machines, the result on standard
/// output.
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "io/files/line_file.hpp"

namespace bitfall {

/// Rank 0 talks, all others are silent (their calls do nothing).
class Reporter {
 public:
  /// `log_json`: file for JSON lines, empty for none. Throws IoError when it can't be opened.
  Reporter(bool speaks, const std::string& log_json, bool json_on_stdout);

  /// A line for people on standard error, with the time.
  void info(const std::string& text);
  void warning(const std::string& text);
  /// How far a long stage is: on a terminal one line that is written over, with the time that is left;
  /// elsewhere a line now and then. `done` = `total` ends the line.
  void progress(const std::string& stage, std::int64_t done, std::int64_t total, const std::string& text);
  /// One JSON line: {"event": name, "seconds": since start, ...fields}.
  void event(const std::string& name, const nlohmann::json& fields);
  /// The last event of a job. With --json the object, otherwise `text`, goes to standard output.
  void result(const nlohmann::json& fields, const std::string& text);

  [[nodiscard]] double seconds() const;

 private:
  bool speaks_;
  bool json_on_stdout_;
  std::unique_ptr<LineFile> log_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  struct Progress {
    std::string stage;
    std::int64_t first = 0;  ///< done when the stage was first seen (resumed ones do not begin at 0)
    double begin_seconds = 0, shown_seconds = 0;
  } progress_;
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
