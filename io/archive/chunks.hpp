#pragma once
/// The data of a chunked dataset, inflated by ourselves: HDF5's own filter grows its buffer for as long as
/// the stream goes on (a thousand times the file), whatever the size of a chunk is.
#include <cstdint>
#include <string>
#include <vector>

#include "hdf5.hpp"

namespace bitfall::hdf5 {

/// All `count` elements. Throws DataError naming the dataset: chunks larger than it, a filter other than
/// shuffle before deflate, a chunk that is missing, larger than `file_bytes`, or does not inflate to its
/// size.
[[nodiscard]] std::vector<std::uint8_t> read_chunks(const Dataset& dataset, const std::string& name,
                                                    std::int64_t count, std::int64_t element_bytes,
                                                    std::int64_t file_bytes);

}  // namespace bitfall::hdf5
