#include "import_authors.hpp"

#include "io/archive/safetensors.hpp"
#include "io/files/temporary_file.hpp"
#include "run_python.hpp"

namespace bitfall {

Archive import_authors(const std::string& path, Network& network) {
  const TemporaryFile converted;
  run_python("bitfall_import.py", {path, converted.path()});
  return assemble_authors_archive(read_safetensors(converted.path()).tensors, network, path);
}

}  // namespace bitfall
