#pragma once
/// The archive: the HDF5 file that a compression ends in. Specified in docs/format.md.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/quantized_layer.hpp"

namespace bitfall {

/// A parameter or buffer that is stored as it is.
struct KeptTensor {
  std::string name;
  std::string dtype;  ///< element type of the network's tensor: "float32", "float16", "float64", "int64", ...
  std::vector<std::int64_t> shape;
  std::string
      stored_dtype;  ///< type of `bytes`: equal to dtype, or "float16" for a float32 tensor stored compactly
  std::vector<std::uint8_t> bytes;  ///< little endian, C order
};

struct Archive {
  std::vector<QuantizedLayer> layers;  ///< network order
  std::vector<KeptTensor> kept;        ///< state-dict order
  std::string plan_json;               ///< to_json(Plan), part of the content hash
  std::string model;                   ///< TorchScript without weights (Network::save_without_weights)
  std::string provenance_json;  ///< version, command line, world size, libraries, seed, data fingerprint
  std::string content_sha256;   ///< hex; filled by write_archive and read_archive
};

/// Bytes of each part of an archive file.
struct ArchiveBytes {
  std::int64_t file = 0, codes = 0, codebooks = 0, kept = 0, model = 0, provenance = 0, overhead = 0;
};

/// SHA-256 over codes, codebooks, kept tensors and the plan, in the order of docs/format.md; independent of
/// HDF5, of the provenance and of the embedded model.
[[nodiscard]] std::string content_hash(const Archive& archive);

/// Writes beside `path`, flushes, fsyncs, reopens and verifies, renames, fsyncs the folder. Fills
/// content_sha256. Throws IoError; then `path` is what it was before and no temporary file is left.
ArchiveBytes write_archive(Archive& archive, const std::filesystem::path& path);

/// Reads and checks everything (magic, version, ranges, hashes). Throws MissingInputError or DataError naming
/// the file and the dataset. Memory stays bounded by the file's size.
[[nodiscard]] Archive read_archive(const std::filesystem::path& path);
/// The same from a file's bytes; `source` names it in errors.
[[nodiscard]] Archive parse_archive(std::string_view bytes, const std::string& source);
/// True when the file starts like an HDF5 file (used to tell an archive from TorchScript).
[[nodiscard]] bool is_hdf5(const std::filesystem::path& path);
[[nodiscard]] bool looks_like_hdf5(std::string_view bytes);
[[nodiscard]] ArchiveBytes archive_bytes(const std::filesystem::path& path);

/// Stores a float32 tensor as fp16 (other types stay). Throws DataError naming the tensor when a value does
/// not fit.
void compact_to_half(KeptTensor& tensor);

}  // namespace bitfall
