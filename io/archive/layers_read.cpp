#include "layers_read.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "check.hpp"
#include "layout.hpp"
#include "parts.hpp"

namespace bitfall {
namespace {

LayerKind layer_kind(const std::string& text, const std::string& layer) {
  for (const LayerKind kind : {LayerKind::convolution, LayerKind::linear}) {
    if (text == to_string(kind)) return kind;
  }
  throw DataError("layer '" + layer + "' is of the unknown kind '" + text + "'");
}

Metric layer_metric(const std::string& text, const std::string& layer) {
  try {
    return metric_from_string(text);
  } catch (const UsageError& error) {
    throw DataError("layer '" + layer + "': " + error.what());
  }
}

/// Everything but codes, codebook and iterations.
QuantizedLayer read_layer_row(const Table& table, std::int64_t row) {
  QuantizedLayer layer;
  layer.name = table.text(row, "name");
  layer.weight_name = table.text(row, "weight_name");
  layer.kind = layer_kind(table.text(row, "kind"), layer.name);
  layer.weight_shape = table.list(row, "shape", table.integer(row, "dimensions"));
  layer.groups = table.integer(row, "groups");
  layer.d = table.integer(row, "d");
  layer.k = table.integer(row, "k");
  layer.metric = layer_metric(table.text(row, "metric"), layer.name);
  const double scale = table.real(row, "codebook_scale");
  layer.codebook_scale = static_cast<float>(scale);
  require(double(layer.codebook_scale) == scale && scale >= 0 && std::isfinite(scale),
          "layer '" + layer.name + "' has the impossible codebook_scale " + std::to_string(scale));
  return layer;
}

std::vector<std::uint16_t> codes_of(const LayerBytes& stored, std::span<const std::uint8_t> bytes,
                                    std::int64_t blocks, const QuantizedLayer& layer) {
  try {
    return decode_codes(stored.coding, bytes, blocks, layer.k);
  } catch (const DataError& error) {
    throw DataError("layer '" + layer.name + "': " + error.what());
  }
}

/// `integers`: the k exponents, then the k x d multiples.
std::vector<std::uint16_t> codebook_of(std::span<const std::int8_t> integers, const QuantizedLayer& layer) {
  const auto exponents = integers.first(static_cast<std::size_t>(layer.k));
  const auto multiples = integers.subspan(exponents.size());
  for (const std::int8_t exponent : exponents) {
    if (exponent < 0 || exponent > most_codebook_exponent)
      throw DataError("layer '" + layer.name + "' has a codeword with the exponent " +
                      std::to_string(exponent));
  }
  std::vector<std::uint16_t> codebook;
  codebook.reserve(multiples.size());
  for (std::size_t i = 0; i < multiples.size(); ++i) {
    codebook.push_back(
        codebook_value(multiples[i], layer.codebook_scale, exponents[i / static_cast<std::size_t>(layer.d)]));
  }
  return codebook;
}

/// The iterations of every layer; `counts` says how many each has.
void read_iterations(hdf5::Reader& reader, std::span<const std::int64_t> counts,
                     std::vector<QuantizedLayer>& layers) {
  const Table table = reader.table(layout::iterations);
  const std::vector<float> seconds = reader.floats(layout::seconds);
  require(std::cmp_equal(seconds.size(), table.rows()), "iterations and their seconds differ in number");
  std::int64_t row = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    require(counts[i] >= 0 && counts[i] <= table.rows() - row,
            "layer '" + layers[i].name + "' has more iterations than are stored");
    for (const std::int64_t end = row + counts[i]; row < end; ++row) {
      layers[i].iterations.push_back({table.real(row, "objective"), table.integer(row, "moved"),
                                      table.integer(row, "refilled"),
                                      seconds[static_cast<std::size_t>(row)]});
    }
  }
  require(row == table.rows(), "there are iterations that belong to no layer");
}

}  // namespace

LayerBytes read_layer_bytes(const Table& table, std::int64_t row) {
  return {coding_from_string(table.text(row, "coding")), table.integer(row, "codes_bytes")};
}

std::vector<QuantizedLayer> read_layers(hdf5::Reader& reader) {
  const Table table = reader.table(layout::layers);
  Parts codes(reader.bytes(layout::codes), layout::codes);
  Parts codebooks(reader.halves(layout::codebooks), layout::codebooks);
  Parts integers(reader.integers(layout::codebooks_int8), layout::codebooks_int8);
  std::vector<QuantizedLayer> layers;
  std::vector<std::int64_t> iterations;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    QuantizedLayer layer = read_layer_row(table, row);
    const std::string what = "layer '" + layer.name + "'";
    const std::int64_t blocks = checked_blocks(layer);
    require(blocks <= most_elements && layer.d <= most_elements, what + " is impossibly large");
    // Codes that are all the same take no bytes, so their number is bounded here.
    reader.spend(2 * blocks, what);
    const LayerBytes stored = read_layer_bytes(table, row);
    layer.codes = codes_of(stored, codes.take(stored.codes, what), blocks, layer);
    if (layer.codebook_type() == CodebookType::int8) {
      reader.spend(2 * layer.k * layer.d, what);
      layer.codebook = codebook_of(integers.take(layer.k * (layer.d + 1), what), layer);
    } else {
      const auto codebook = codebooks.take(layer.k * layer.d, what);
      layer.codebook.assign(codebook.begin(), codebook.end());
    }
    iterations.push_back(table.integer(row, "iterations"));
    layers.push_back(std::move(layer));
  }
  codes.require_all_taken();
  codebooks.require_all_taken();
  integers.require_all_taken();
  read_iterations(reader, iterations, layers);
  return layers;
}

}  // namespace bitfall
