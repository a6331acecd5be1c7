#include "output_path.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "bitfall/errors.hpp"

namespace bitfall {

ClaimedOutput claim_output(const std::string& path, const Communicator& communicator,
                           const OutputLock::Ours& is_ours) {
  ClaimedOutput claim;
  communicator.guarded("checking the output " + path, [&] {
    if (!communicator.is_root()) return;
    if (std::filesystem::is_directory(path))
      throw IoError("the output '" + path + "' is a folder; name a file");
    std::filesystem::path folder = std::filesystem::path(path).parent_path();
    if (folder.empty()) folder = ".";
    if (access(folder.c_str(), W_OK | X_OK) != 0) {
      throw IoError("cannot write into the folder '" + folder.string() + "' of the output '" + path +
                    "': " + std::strerror(errno) + "; create it, or choose a folder that you may write to");
    }
    claim = std::make_unique<const OutputLock>(path, is_ours);
  });
  return claim;
}

ClaimedOutput claim_run_file(const std::string& path, const Communicator& communicator) {
  if (path.empty()) return nullptr;
  const std::string name = std::filesystem::path(path).filename();
  return claim_output(path, communicator,
                      [&](std::string_view stem) { return stem == name || stem == name + ".new"; });
}

}  // namespace bitfall
