#pragma once
/// The HDF5 types of a table's rows. In memory every integer has 64 bits; in the file each column has as many
/// as its largest value needs, and HDF5 converts.
#include <string>
#include <vector>

#include "hdf5.hpp"
#include "table.hpp"

namespace bitfall::hdf5 {

[[nodiscard]] bool same_type(hid_t one, hid_t other);
/// UTF-8 of `bytes` bytes, padded with zeros.
[[nodiscard]] Datatype text_type(std::int64_t bytes);

/// The columns one after the other, as Table lays them out.
[[nodiscard]] Datatype row_type_in_memory(const std::vector<Column>& columns);
[[nodiscard]] Datatype row_type_in_file(const Table& table);
/// The columns of a row as a file declares it. Throws DataError when it is not one that archives use.
[[nodiscard]] std::vector<Column> columns_of(const Datatype& row, const std::string& table);

}  // namespace bitfall::hdf5
