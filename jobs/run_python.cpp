#include "run_python.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "bitfall/errors.hpp"

extern char** environ;

namespace bitfall {

namespace {

std::string interpreter() {
  if (const char* chosen = std::getenv("BITFALL_PYTHON"); chosen != nullptr && *chosen != '\0') return chosen;
  if (std::filesystem::exists(BITFALL_DEFAULT_PYTHON)) return BITFALL_DEFAULT_PYTHON;
  return "python3";
}

std::string script_path(const std::string& script) {
  for (const char* folder : {BITFALL_SOURCE_SCRIPTS, BITFALL_INSTALLED_SCRIPTS}) {
    const auto path = std::filesystem::path(folder) / script;
    if (std::filesystem::exists(path)) return path.string();
  }
  throw MissingInputError("the script " + script +
                          " is neither in " BITFALL_SOURCE_SCRIPTS " nor in " BITFALL_INSTALLED_SCRIPTS);
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

/// The last line that is not empty: Python's exceptions end with what went wrong.
std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const auto newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

}  // namespace

void run_python(const std::string& script, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {interpreter(), script_path(script)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2] = {-1, -1};
  if (pipe(ends) != 0) throw ClusterError(std::string("cannot make a pipe: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string errors = failed == 0 ? read_all(ends[0]) : "";
  close(ends[0]);
  if (failed != 0) throw ClusterError("cannot start " + words[0] + ": " + std::strerror(failed));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  const std::string message = last_line(errors);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == static_cast<int>(ExitCode::data)) throw DataError(message);
  if (code == static_cast<int>(ExitCode::missing_input)) throw MissingInputError(message);
  throw ClusterError(words[0] + " " + script + " failed: " + message);
}

}  // namespace bitfall
