#pragma once
/// The archive: the HDF5 file that a compression ends in. Specified in docs/format.md.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/coded_codes.hpp"
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

/// Stores a float32 tensor as float16, unless a finite value would become infinite; such a tensor and those
/// of other types stay as they are. Returns whether it did something.
bool compact_to_half(KeptTensor& tensor);
/// The tensor with its bytes in its own dtype (the inverse, up to the rounding).
[[nodiscard]] KeptTensor expand_from_half(const KeptTensor& tensor);
/// Whether all of at least two elements are the same bytes: the archive stores one of them.
[[nodiscard]] bool is_constant(const KeptTensor& tensor);
/// Bytes of one element of a dtype name ("float32" -> 4). Throws DataError that lists the known names.
[[nodiscard]] std::int64_t dtype_bytes(const std::string& dtype);

/// How a layer's codes are stored.
struct LayerBytes {
  Coding coding = Coding::packed;
  std::int64_t codes = 0;  ///< bytes, with the frequency table
};

/// Bytes that each part takes in the archive file (after HDF5's lossless compression). `overhead` is what is
/// left: tables, plan, hashes, HDF5's own structures.
struct ArchiveBytes {
  std::int64_t file = 0, codes = 0, codebooks = 0, kept = 0, model = 0, provenance = 0, overhead = 0;
  std::vector<LayerBytes> layers;  ///< as Archive::layers
};

/// SHA-256 (hex) over the description of every layer and kept tensor, the SHA-256 of its data, and the plan,
/// in the order of docs/format.md; independent of HDF5, of the provenance, of the embedded model and of all
/// times.
[[nodiscard]] std::string content_hash(const Archive& archive);

/// Writes beside `path`, flushes, fsyncs, reopens and verifies, renames, fsyncs the folder. Fills
/// content_sha256. Throws IoError; then `path` is what it was before and no temporary file is left. Throws
/// DataError when the archive contradicts itself (a code without a codeword, two tensors of one name ...).
ArchiveBytes write_archive(Archive& archive, const std::filesystem::path& path);

/// The bytes of the file that write_archive would write. Throws as it does, but touches no disk.
[[nodiscard]] std::int64_t file_bytes(Archive archive);

/// Reads and checks everything (magic, version, ranges, hashes). Throws MissingInputError or DataError naming
/// the file and the dataset. Memory stays bounded by the file's size.
[[nodiscard]] Archive read_archive(const std::filesystem::path& path);
/// The same from a file's bytes; `source` names it in errors.
[[nodiscard]] Archive parse_archive(std::string_view bytes, const std::string& source);
/// True when the file starts like an HDF5 file (used to tell an archive from TorchScript).
[[nodiscard]] bool is_hdf5(const std::filesystem::path& path);
[[nodiscard]] bool looks_like_hdf5(std::string_view bytes);
[[nodiscard]] ArchiveBytes archive_bytes(const std::filesystem::path& path);

}  // namespace bitfall
