#include <algorithm>

#include "atomic_file.hpp"
#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "hdf5_file.hpp"
#include "layout.hpp"
#include "seal.hpp"
#include "sha256.hpp"

namespace bitfall {

namespace {

using Type = Column::Type;

template <class Range, class Field>
std::int64_t longest(const Range& range, Field field) {
  std::size_t length = 1;
  for (const auto& item : range) length = std::max(length, (item.*field).size());
  return static_cast<std::int64_t>(length);
}

std::span<const std::uint8_t> bytes_of(const std::vector<std::uint16_t>& values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * 2};
}

void write_layers(hdf5::Writer& file, const Archive& archive) {
  const auto& layers = archive.layers;
  Table table(layout::layers,
              {{"name", Type::text, longest(layers, &QuantizedLayer::name)},
               {"weight_name", Type::text, longest(layers, &QuantizedLayer::weight_name)},
               {"kind", Type::text, 16},
               {"metric", Type::text, 16},
               {"dimensions"},
               {"shape", Type::integer, layout::most_dimensions},
               {"groups"},
               {"d"},
               {"k"},
               {"code_bits"},
               {"codes_offset"},
               {"codes_bytes"},
               {"codebook_offset"},
               {"codes_sha256", Type::bytes, 32},
               {"codebook_sha256", Type::bytes, 32}},
              static_cast<std::int64_t>(layers.size()));
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> codebooks;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const QuantizedLayer& layer = layers[static_cast<std::size_t>(row)];
    const std::vector<std::uint8_t> packed = pack_codes(layer.codes, layer.code_bits());
    table.set(row, "name", std::string_view(layer.name));
    table.set(row, "weight_name", std::string_view(layer.weight_name));
    table.set(row, "kind", to_string(layer.kind));
    table.set(row, "metric", to_string(layer.metric));
    table.set(row, "dimensions", static_cast<std::int64_t>(layer.weight_shape.size()));
    table.set(row, "shape", std::span<const std::int64_t>(layer.weight_shape));
    table.set(row, "groups", layer.groups);
    table.set(row, "d", layer.d);
    table.set(row, "k", layer.k);
    table.set(row, "code_bits", static_cast<std::int64_t>(layer.code_bits()));
    table.set(row, "codes_offset", static_cast<std::int64_t>(codes.size()));
    table.set(row, "codes_bytes", static_cast<std::int64_t>(packed.size()));
    table.set(row, "codebook_offset", static_cast<std::int64_t>(codebooks.size()));
    table.set(row, "codes_sha256", sha256(packed));
    table.set(row, "codebook_sha256", sha256(bytes_of(layer.codebook)));
    codes.insert(codes.end(), packed.begin(), packed.end());
    codebooks.insert(codebooks.end(), layer.codebook.begin(), layer.codebook.end());
  }
  file.dataset(table);
  file.dataset(layout::codes, std::span<const std::uint8_t>(codes));
  file.half_dataset(layout::codebooks, codebooks);
}

void write_iterations(hdf5::Writer& file, const Archive& archive) {
  std::int64_t rows = 0;
  for (const QuantizedLayer& layer : archive.layers)
    rows += static_cast<std::int64_t>(layer.iterations.size());
  Table table(layout::iterations,
              {{"layer"}, {"objective", Type::real}, {"moved"}, {"refilled"}, {"seconds", Type::real}}, rows);
  std::int64_t row = 0;
  for (std::size_t layer = 0; layer < archive.layers.size(); ++layer) {
    for (const KmeansIteration& iteration : archive.layers[layer].iterations) {
      table.set(row, "layer", static_cast<std::int64_t>(layer));
      table.set_real(row, "objective", iteration.objective);
      table.set(row, "moved", iteration.moved);
      table.set(row, "refilled", iteration.refilled);
      table.set_real(row, "seconds", iteration.seconds);
      ++row;
    }
  }
  file.dataset(table);
}

void write_kept(hdf5::Writer& file, const Archive& archive) {
  const auto& kept = archive.kept;
  Table table(layout::kept,
              {{"name", Type::text, longest(kept, &KeptTensor::name)},
               {"dtype", Type::text, 16},
               {"stored_dtype", Type::text, 16},
               {"dimensions"},
               {"shape", Type::integer, layout::most_dimensions},
               {"offset"},
               {"bytes"},
               {"sha256", Type::bytes, 32}},
              static_cast<std::int64_t>(kept.size()));
  std::vector<std::uint8_t> data;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const KeptTensor& tensor = kept[static_cast<std::size_t>(row)];
    if (std::cmp_greater(tensor.shape.size(), layout::most_dimensions))
      throw DataError("tensor '" + tensor.name + "' has more than 8 dimensions; an archive can't hold it");
    table.set(row, "name", std::string_view(tensor.name));
    table.set(row, "dtype", std::string_view(tensor.dtype));
    table.set(row, "stored_dtype", std::string_view(tensor.stored_dtype));
    table.set(row, "dimensions", static_cast<std::int64_t>(tensor.shape.size()));
    table.set(row, "shape", std::span<const std::int64_t>(tensor.shape));
    table.set(row, "offset", static_cast<std::int64_t>(data.size()));
    table.set(row, "bytes", static_cast<std::int64_t>(tensor.bytes.size()));
    table.set(row, "sha256", sha256(tensor.bytes));
    data.insert(data.end(), tensor.bytes.begin(), tensor.bytes.end());
  }
  file.dataset(table);
  file.dataset(layout::kept_data, std::span<const std::uint8_t>(data));
}

std::string make_image(const Archive& archive) {
  const hdf5::QuietErrors quiet;
  hdf5::Writer file(/*compress=*/true);
  file.attribute("magic", layout::magic);
  file.attribute("version_major", layout::version_major);
  file.attribute("version_minor", layout::version_minor);
  file.attribute("content_sha256", archive.content_sha256);
  write_layers(file, archive);
  write_iterations(file, archive);
  write_kept(file, archive);
  file.dataset(layout::plan, std::string_view(archive.plan_json));
  file.dataset(layout::model, std::string_view(archive.model));
  file.dataset(layout::provenance, std::string_view(archive.provenance_json));
  file.attribute("declared_bytes", file.declared_bytes());
  return file.finish();
}

}  // namespace

ArchiveBytes write_archive(Archive& archive, const std::filesystem::path& path) {
  archive.content_sha256 = content_hash(archive);
  std::string image;
  try {
    image = make_image(archive);
  } catch (const hdf5::Failure& failure) {
    throw IoError("cannot make the archive '" + path.string() + "' in memory: " + failure.what());
  }
  image += make_seal(image);
  AtomicFile file(path);
  file.write(image);
  file.sync();
  // What is on the disk is read back and checked before it gets its name.
  if (content_hash(read_archive(file.temporary_path())) != archive.content_sha256)
    throw IoError("the archive '" + path.string() +
                  "' reads back differently from what was written; check the disk");
  const ArchiveBytes bytes = archive_bytes(file.temporary_path());
  file.commit();
  return bytes;
}

}  // namespace bitfall
