#include "output_path.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "bitfall/errors.hpp"

namespace bitfall {

void require_writable(const std::string& path, const Communicator& communicator) {
  communicator.guarded("checking the output " + path, [&] {
    if (!communicator.is_root()) return;
    if (std::filesystem::is_directory(path))
      throw IoError("the output '" + path + "' is a folder; name a file");
    std::filesystem::path folder = std::filesystem::path(path).parent_path();
    if (folder.empty()) folder = ".";
    if (access(folder.c_str(), W_OK | X_OK) != 0) {
      throw IoError("cannot write into the folder '" + folder.string() + "' of the output '" + path +
                    "': " + std::strerror(errno));
    }
  });
}

}  // namespace bitfall
