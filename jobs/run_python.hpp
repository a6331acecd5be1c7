#pragma once
#include <string>
#include <vector>

namespace bitfall {

/// Runs a script of the project's python folder with these arguments and waits for it. The interpreter is
/// $BITFALL_PYTHON, else the build's virtual environment, else python3; the scripts lie in the source tree,
/// else where they were installed. What the script writes to standard output is dropped; the last line of its
/// standard error becomes the message when it fails: exit 64 is UsageError, 65 DataError, 66
/// MissingInputError, 73 IoError, anything else ClusterError.
void run_python(const std::string& script, const std::vector<std::string>& arguments);

}  // namespace bitfall
