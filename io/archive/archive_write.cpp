#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "atomic_file.hpp"
#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "check.hpp"
#include "hdf5_file.hpp"
#include "layout.hpp"
#include "seal.hpp"
#include "shuffle.hpp"
#include "table.hpp"

namespace bitfall {
namespace {

using Type = Column::Type;

/// The longest of the texts or lists that `length` gives; at least 1, because HDF5 has no empty types.
template <class Items, class Length>
std::int64_t longest(const Items& items, Length length) {
  std::size_t most = 1;
  for (const auto& item : items) most = std::max<std::size_t>(most, length(item));
  return static_cast<std::int64_t>(most);
}

constexpr std::int64_t longest_coding = 6;  // packed

std::vector<Column> layer_columns(const std::vector<QuantizedLayer>& layers) {
  return {{"name", Type::text, longest(layers, [](const auto& l) { return l.name.size(); })},
          {"weight_name", Type::text, longest(layers, [](const auto& l) { return l.weight_name.size(); })},
          {"kind", Type::text, longest(layers, [](const auto& l) { return to_string(l.kind).size(); })},
          {"metric", Type::text, longest(layers, [](const auto& l) { return to_string(l.metric).size(); })},
          {"dimensions", Type::integer},
          {"shape", Type::integer, longest(layers, [](const auto& l) { return l.weight_shape.size(); })},
          {"groups", Type::integer},
          {"d", Type::integer},
          {"k", Type::integer},
          {"codebook_scale", Type::real},
          {"coding", Type::text, longest_coding},
          {"codes_bytes", Type::integer},
          {"iterations", Type::integer}};
}

template <class T>
void append(std::vector<T>& all, const std::vector<T>& part) {
  all.insert(all.end(), part.begin(), part.end());
}

void write_layers(hdf5::Writer& writer, const std::vector<QuantizedLayer>& layers, bool compress) {
  Table table(layout::layers, layer_columns(layers), static_cast<std::int64_t>(layers.size()));
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> codebooks;
  std::vector<std::int8_t> integers;
  std::int64_t row = 0;
  for (const QuantizedLayer& layer : layers) {
    table.set(row, "name", layer.name);
    table.set(row, "weight_name", layer.weight_name);
    table.set(row, "kind", to_string(layer.kind));
    table.set(row, "metric", to_string(layer.metric));
    table.set(row, "dimensions", static_cast<std::int64_t>(layer.weight_shape.size()));
    table.set(row, "shape", layer.weight_shape);
    table.set(row, "groups", layer.groups);
    table.set(row, "d", layer.d);
    table.set(row, "k", layer.k);
    const CodedCodes coded = compress
                                 ? encode_codes(layer.codes, layer.k)
                                 : CodedCodes{Coding::packed, pack_codes(layer.codes, layer.code_bits())};
    table.set_real(row, "codebook_scale", layer.codebook_scale);
    table.set(row, "coding", to_string(coded.coding));
    table.set(row, "codes_bytes", static_cast<std::int64_t>(coded.bytes.size()));
    table.set(row, "iterations", static_cast<std::int64_t>(layer.iterations.size()));
    append(codes, coded.bytes);
    if (layer.codebook_type() == CodebookType::int8) {
      const CodebookIntegers stored = codebook_integers(layer.codebook, layer.d, layer.codebook_scale);
      append(integers, stored.exponents);
      append(integers, stored.multiples);
    } else {
      append(codebooks, layer.codebook);
    }
    ++row;
  }
  writer.dataset(table);
  writer.dataset(layout::codes, codes);
  writer.half_dataset(layout::codebooks, codebooks);
  writer.dataset(layout::codebooks_int8, integers);
}

void write_iterations(hdf5::Writer& writer, const std::vector<QuantizedLayer>& layers) {
  std::int64_t rows = 0;
  for (const QuantizedLayer& layer : layers) rows += static_cast<std::int64_t>(layer.iterations.size());
  Table table(layout::iterations,
              {{"objective", Type::real}, {"moved", Type::integer}, {"refilled", Type::integer}}, rows);
  std::int64_t row = 0;
  for (const QuantizedLayer& layer : layers) {
    for (const KmeansIteration& iteration : layer.iterations) {
      table.set_real(row, "objective", iteration.objective);
      table.set(row, "moved", iteration.moved);
      table.set(row, "refilled", iteration.refilled);
      ++row;
    }
  }
  writer.dataset(table);
}

void write_kept(hdf5::Writer& writer, const std::vector<KeptTensor>& kept, bool compress) {
  Table table(
      layout::kept,
      {{"name", Type::text, longest(kept, [](const auto& t) { return t.name.size(); })},
       {"dtype", Type::text, longest(kept, [](const auto& t) { return t.dtype.size(); })},
       {"stored_dtype", Type::text, longest(kept, [](const auto& t) { return t.stored_dtype.size(); })},
       {"dimensions", Type::integer},
       {"shape", Type::integer, longest(kept, [](const auto& t) { return t.shape.size(); })},
       {"constant", Type::integer}},
      static_cast<std::int64_t>(kept.size()));
  std::vector<std::uint8_t> data;
  std::int64_t row = 0;
  for (const KeptTensor& tensor : kept) {
    table.set(row, "name", tensor.name);
    table.set(row, "dtype", tensor.dtype);
    table.set(row, "stored_dtype", tensor.stored_dtype);
    table.set(row, "dimensions", static_cast<std::int64_t>(tensor.shape.size()));
    table.set(row, "shape", tensor.shape);
    const bool constant = compress && is_constant(tensor);
    table.set(row, "constant", std::int64_t{constant});
    const auto element_bytes = static_cast<std::size_t>(dtype_bytes(tensor.stored_dtype));
    const std::span<const std::uint8_t> bytes(tensor.bytes);
    append(data, shuffle(constant ? bytes.first(element_bytes) : bytes, element_bytes));
    ++row;
  }
  writer.dataset(table);
  writer.dataset(layout::kept_data, data);
}

/// What differs between two runs comes last, so that the bytes before it are equal.
void write_provenance(hdf5::Writer& writer, const Archive& archive) {
  writer.dataset(layout::provenance, archive.provenance_json);
  std::vector<float> seconds;
  for (const QuantizedLayer& layer : archive.layers) {
    for (const KmeansIteration& iteration : layer.iterations)
      seconds.push_back(static_cast<float>(iteration.seconds));
  }
  writer.dataset(layout::seconds, seconds);
}

struct Image {
  std::string bytes;
  std::int64_t declared_bytes = 0;
};

Image make_image(const Archive& archive, bool compress) {
  hdf5::Writer writer(compress);
  writer.attribute("magic", layout::magic);
  writer.attribute("version_major", layout::version_major);
  writer.attribute("version_minor", layout::version_minor);
  writer.attribute("content_sha256", archive.content_sha256);
  write_layers(writer, archive.layers, compress);
  write_iterations(writer, archive.layers);
  write_kept(writer, archive.kept, compress);
  writer.dataset(layout::plan, archive.plan_json);
  writer.dataset(layout::model, archive.model);
  write_provenance(writer, archive);
  std::int64_t declared = writer.declared_bytes();
  for (const QuantizedLayer& layer : archive.layers)
    declared += 2 * static_cast<std::int64_t>(layer.codes.size() + layer.codebook.size());
  for (const KeptTensor& tensor : archive.kept)
    if (is_constant(tensor)) declared += static_cast<std::int64_t>(tensor.bytes.size());
  return {writer.finish(), declared};
}

/// An image that every reader accepts: one that compresses beyond the reader's limit is left uncompressed,
/// with packed codes and every element of constants.
std::string make_readable_image(const Archive& archive) {
  const hdf5::QuietErrors quiet;
  for (const bool compress : {true, false}) {
    Image image = make_image(archive, compress);
    if (image.declared_bytes <= layout::most_declared_bytes(static_cast<std::int64_t>(image.bytes.size())))
      return std::move(image.bytes);
  }
  throw DataError(
      "the archive would need more than 256 times its own size in memory (layers with k = 1); leave such "
      "layers alone");
}

/// Fills content_sha256.
std::string build_image(Archive& archive, const std::string& name) {
  check_archive(archive);
  archive.content_sha256 = content_hash(archive);
  try {
    return make_readable_image(archive);
  } catch (const hdf5::Failure& failure) {
    throw InternalError("cannot build the archive '" + name + "' in memory: " + failure.what());
  }
}

}  // namespace

std::int64_t file_bytes(Archive archive) {
  const std::string image = build_image(archive, "to be");
  return static_cast<std::int64_t>(image.size() + make_seal(image).size());
}

ArchiveBytes write_archive(Archive& archive, const std::filesystem::path& path) {
  std::string image = build_image(archive, path.string());

  AtomicFile file(path);
  file.write(image);
  file.write(make_seal(image));
  image = std::string();
  file.sync();
  // Read what the disk has, not what we think we wrote. The seal vouches for every byte, read_archive for
  // what they mean.
  ArchiveBytes bytes;
  try {
    const Archive again = read_archive(file.temporary_path());
    bytes = archive_bytes(file.temporary_path());
    if (again.content_sha256 != archive.content_sha256 || again.model != archive.model ||
        again.provenance_json != archive.provenance_json)
      throw DataError("its content is another one");
  } catch (const Error& error) {
    throw IoError(
        "cannot write '" + path.string() +
        "': what was written reads back differently (a failing disk or file system?): " + error.what());
  }
  file.commit();
  return bytes;
}

}  // namespace bitfall
