#pragma once
#include <string>
#include <vector>

namespace bitfall {

/// Runs a script of the project's python folder with these arguments and waits for it. The interpreter is
/// $BITFALL_PYTHON, else the build's virtual environment, else python3. Its standard error becomes the
/// message of the exception when it fails: exit 65 DataError, 66 MissingInputError, anything else
/// ClusterError.
void run_python(const std::string& script, const std::vector<std::string>& arguments);

}  // namespace bitfall
