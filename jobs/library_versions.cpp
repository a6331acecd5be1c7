#include "library_versions.hpp"

#include <archive.h>
#include <hdf5.h>
#include <mpi.h>
#include <torch/headeronly/version.h>

namespace bitfall {

std::map<std::string, std::string> library_versions() {
  std::map<std::string, std::string> versions;
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string text(mpi, static_cast<std::size_t>(length));
  versions["mpi"] = text.substr(0, text.find(','));
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  versions["hdf5"] = std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
  versions["libtorch"] = TORCH_VERSION;
  versions["libarchive"] = archive_version_string();
  return versions;
}

}  // namespace bitfall
