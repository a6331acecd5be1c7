#include "bitfall/errors.hpp"

namespace bitfall {

void assertion_failed(const char* condition, const char* file, int line, const std::string& detail) {
  throw InternalError("bug in bitfall: " + std::string(condition) + " does not hold at " + file + ":" +
                      std::to_string(line) + (detail.empty() ? "" : " (" + detail + ")"));
}

}  // namespace bitfall
