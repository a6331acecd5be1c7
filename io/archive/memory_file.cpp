#include "memory_file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall::hdf5 {
namespace {

constexpr unsigned most_compact_links = 64;

/// HDF5's core driver hands every buffer it needs to these functions, so that the file's bytes can be kept
/// when it closes. H5Fget_file_image won't do: it clears flags in the superblock of an open file and leaves
/// its checksum as it was, so that the copy can't be opened (seen with 1.10.8).
void* allocate(std::size_t bytes, H5FD_file_image_op_t, void* file) {
  static_cast<MemoryFile*>(file)->resized(bytes);
  return std::malloc(bytes);
}

void* reallocate(void* data, std::size_t bytes, H5FD_file_image_op_t, void* file) {
  static_cast<MemoryFile*>(file)->resized(bytes);
  return std::realloc(data, bytes);
}

herr_t release(void* data, H5FD_file_image_op_t operation, void* file) {
  if (operation == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
    static_cast<MemoryFile*>(file)->closed(data);
  else
    std::free(data);
  return 0;
}

}  // namespace

File MemoryFile::create() {
  const std::string action = "preparing a file in memory";
  const PropertyList access(H5Pcreate(H5P_FILE_ACCESS), action);
  checked(H5Pset_fapl_core(access.id(), std::size_t{1} << 20, false), action);
  H5FD_file_image_callbacks_t callbacks = {
      allocate,
      [](void* to, const void* from, std::size_t bytes, H5FD_file_image_op_t, void*) {
        return std::memcpy(to, from, bytes);
      },
      reallocate,
      release,
      [](void* data) { return data; },
      [](void*) -> herr_t { return 0; },
      this};
  checked(H5Pset_file_image_callbacks(access.id(), &callbacks), action);
  // The format of 1.10: a chunked dataset of one chunk needs no B-tree (2 kB each in the formats before),
  // groups no heap. A fixed version gives the same bytes with every later library.
  checked(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110), action);
  // Metadata and small data are placed one after the other, not in blocks of 2 kB with holes.
  checked(H5Pset_meta_block_size(access.id(), 0), action);
  checked(H5Pset_small_data_block_size(access.id(), 0), action);

  const PropertyList creation(H5Pcreate(H5P_FILE_CREATE), action);
  // Times would make equal archives differ.
  checked(H5Pset_obj_track_times(creation.id(), false), action);
  // All names of datasets stay in the root group's header.
  checked(H5Pset_link_phase_change(creation.id(), most_compact_links, 0), action);
  return {H5Fcreate(memory_file_name().c_str(), H5F_ACC_TRUNC, creation.id(), access.id()),
          "making a file in memory"};
}

std::string MemoryFile::take() {
  // The end of the file as its superblock (version 3, HDF5 file format specification III.A) gives it; the
  // buffer is larger.
  constexpr std::size_t end_position = 28;
  std::uint64_t end = 0;
  BITFALL_ASSERT(data_ != nullptr && bytes_ >= end_position + sizeof end, "HDF5 did not hand over the file");
  const char* data = static_cast<const char*>(data_.get());
  std::memcpy(&end, data + end_position, sizeof end);
  BITFALL_ASSERT(end <= bytes_, "the file ends at " + std::to_string(end));
  std::string image(data, end);
  data_.reset();
  return image;
}

}  // namespace bitfall::hdf5
