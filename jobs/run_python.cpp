#include "run_python.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "bitfall/errors.hpp"
#include "io/files/file_descriptor.hpp"

namespace bitfall {

namespace {

struct Outcome {
  int status = 0;  ///< as waitpid gives it
  std::string errors;
};

std::string interpreter() {
  if (const char* chosen = std::getenv("BITFALL_PYTHON"); chosen != nullptr && *chosen != '\0') return chosen;
  if (std::filesystem::exists(BITFALL_DEFAULT_PYTHON)) return BITFALL_DEFAULT_PYTHON;
  return "python3";
}

std::string script_path(const std::string& script) {
  // Beside an installed program, wherever its prefix was moved to; otherwise in the source tree.
  std::error_code no_proc;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", no_proc);
  const auto installed = (program.parent_path() / BITFALL_SCRIPTS_FROM_PROGRAM).lexically_normal();
  for (const std::filesystem::path& folder : {installed, std::filesystem::path(BITFALL_SOURCE_SCRIPTS)}) {
    if (std::filesystem::exists(folder / script)) return (folder / script).string();
  }
  throw MissingInputError("the script " + script + " is neither in " + installed.string() +
                          " nor in " BITFALL_SOURCE_SCRIPTS "; install bitfall again");
}

std::string read_all(const FileDescriptor& file) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

/// Where the child's standard streams go.
class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  [[nodiscard]] posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// Starts words[0] with the others as arguments, waits, and returns how it ended and its standard error.
Outcome spawn_and_wait(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw ClusterError(std::string("can't make a pipe to Python: ") + std::strerror(errno));
  }
  const FileDescriptor reader(ends[0]);
  FileDescriptor writer(ends[1]);
  SpawnActions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), writer.get(), STDERR_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], actions.get(), nullptr, argv.data(), environ);
  if (failed != 0) {
    throw ClusterError("can't start " + words[0] + ": " + std::strerror(failed) +
                       "; set BITFALL_PYTHON to a Python that has torch");
  }
  static_cast<void>(writer.close());  // or the end of the child's errors would never be seen
  Outcome outcome;
  outcome.errors = read_all(reader);
  while (waitpid(child, &outcome.status, 0) < 0 && errno == EINTR) continue;
  return outcome;
}

/// The last line that is not empty: Python's exceptions end with what went wrong.
std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \r\n") + 1);
  const auto newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

}  // namespace

void run_python(const std::string& script, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {interpreter(), script_path(script)};
  const std::string call = words[0] + " " + script;
  words.insert(words.end(), arguments.begin(), arguments.end());
  const Outcome outcome = spawn_and_wait(std::move(words));
  const std::string message = last_line(outcome.errors);
  if (WIFSIGNALED(outcome.status)) {
    throw ClusterError(call + " was killed by signal " + std::to_string(WTERMSIG(outcome.status)));
  }
  const int code = WEXITSTATUS(outcome.status);
  if (code == static_cast<int>(ExitCode::ok)) return;
  if (code == static_cast<int>(ExitCode::usage)) throw UsageError(message);
  if (code == static_cast<int>(ExitCode::data)) throw DataError(message);
  if (code == static_cast<int>(ExitCode::missing_input)) throw MissingInputError(message);
  if (code == static_cast<int>(ExitCode::cannot_write)) throw IoError(message);
  if (code == static_cast<int>(ExitCode::cluster)) throw ClusterError(message);
  throw ClusterError(call + " failed with exit code " + std::to_string(code) + ": " + message);
}

}  // namespace bitfall
