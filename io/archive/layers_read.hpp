#pragma once
/// The quantized layers of an archive, from its datasets.
#include <cstdint>
#include <vector>

#include "bitfall/archive.hpp"
#include "hdf5_file.hpp"
#include "table.hpp"

namespace bitfall {

/// Throws DataError naming the layer or the dataset.
[[nodiscard]] std::vector<QuantizedLayer> read_layers(hdf5::Reader& reader);

/// How the codes of a row of the table of layers are stored, and in how many bytes.
[[nodiscard]] LayerBytes read_layer_bytes(const Table& table, std::int64_t row);

}  // namespace bitfall
