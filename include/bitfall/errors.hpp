#pragma once
/// Errors and exit codes.
///
/// The user's mistakes are exceptions that say what, where (file, dataset, layer, rank) and what to do.
/// `BITFALL_ASSERT` marks our own bugs and stays on in release builds. Only jobs/main.cpp turns an exception
/// into a message and an exit code.
#include <stdexcept>
#include <string>

namespace bitfall {

/// Process exit codes (sysexits.h where one fits).
enum class ExitCode : int {
  ok = 0,
  usage = 64,          ///< wrong command line
  data = 65,           ///< bad or corrupt input
  missing_input = 66,  ///< an input file does not exist or can't be read
  cluster = 69,        ///< MPI, a device or a peer is not available
  internal = 70,       ///< a bug of ours
  cannot_write = 73,   ///< an output can't be written
  preempted = 75,      ///< stopped after a checkpoint: run again to go on
  config = 78,         ///< wrong configuration file or plan
};

/// Base of every error that ends a job with a chosen exit code.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

#define BITFALL_DEFINE_ERROR(Name, exit_code)                                          \
  class Name : public Error {                                                          \
   public:                                                                             \
    explicit Name(const std::string& message) : Error(ExitCode::exit_code, message) {} \
  }
BITFALL_DEFINE_ERROR(UsageError, usage);    ///< the command line is wrong
BITFALL_DEFINE_ERROR(ConfigError, config);  ///< a configuration key or a plan override is wrong
BITFALL_DEFINE_ERROR(DataError, data);      ///< an input file is corrupt or not what it should be
BITFALL_DEFINE_ERROR(MissingInputError, missing_input);  ///< an input file is not there or not readable
BITFALL_DEFINE_ERROR(IoError, cannot_write);             ///< an output can't be written
BITFALL_DEFINE_ERROR(ClusterError, cluster);             ///< MPI, NCCL, a device or a peer failed
BITFALL_DEFINE_ERROR(InternalError, internal);           ///< a bug of ours
BITFALL_DEFINE_ERROR(Preempted, preempted);              ///< no error: stopped on request, after a checkpoint
#undef BITFALL_DEFINE_ERROR

/// Throws InternalError with the place and the broken condition.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line,
                                   const std::string& detail);

}  // namespace bitfall

/// Checks an invariant of ours, in every build type. `detail` is anything a std::string is made from.
#define BITFALL_ASSERT(condition, detail) \
  ((condition) ? static_cast<void>(0) : ::bitfall::assertion_failed(#condition, __FILE__, __LINE__, (detail)))
