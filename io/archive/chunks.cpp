#include "chunks.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "check.hpp"
#include "shuffle.hpp"

namespace bitfall::hdf5 {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Positions of the two filters in the pipeline.
struct Filters {
  std::optional<unsigned> shuffle, deflate;
};

Filters find_filters(const PropertyList& creation, const std::string& name, std::int64_t element_bytes) {
  Filters filters;
  const int count = checked(H5Pget_nfilters(creation.id()), "reading the filters of '" + name + "'");
  for (int i = 0; i < count; ++i) {
    const auto position = static_cast<unsigned>(i);
    unsigned flags = 0;
    unsigned element = 0;
    std::size_t values = 1;
    const H5Z_filter_t filter =
        H5Pget_filter2(creation.id(), position, &flags, &values, &element, 0, nullptr, nullptr);
    if (filter == H5Z_FILTER_SHUFFLE && i == 0 && values == 1 && std::cmp_equal(element, element_bytes))
      filters.shuffle = position;
    else if (filter == H5Z_FILTER_DEFLATE && i == count - 1)
      filters.deflate = position;
    else
      throw DataError("dataset '" + name + "' uses filter " + std::to_string(filter) +
                      " in a way that archives don't");
  }
  return filters;
}

Bytes inflate(const Bytes& compressed, std::size_t bytes, const std::string& name) {
  Bytes data(bytes);
  uLongf inflated = static_cast<uLongf>(bytes);
  const int status =
      uncompress(data.data(), &inflated, compressed.data(), static_cast<uLong>(compressed.size()));
  require(status == Z_OK && inflated == bytes,
          "a chunk of dataset '" + name + "' does not inflate to " + std::to_string(bytes) + " bytes");
  return data;
}

}  // namespace

std::vector<std::uint8_t> read_chunks(const Dataset& dataset, const std::string& name, std::int64_t count,
                                      std::int64_t element_bytes, std::int64_t file_bytes) {
  const std::string action = "reading dataset '" + name + "'";
  const PropertyList creation(H5Dget_create_plist(dataset.id()), action);
  const Filters filters = find_filters(creation, name, element_bytes);
  hsize_t chunk = 0;
  require(H5Pget_chunk(creation.id(), 1, &chunk) == 1 && chunk >= 1 && std::cmp_less_equal(chunk, count),
          "dataset '" + name + "' has chunks larger than itself");
  const auto chunk_bytes = static_cast<std::size_t>(chunk) * static_cast<std::size_t>(element_bytes);
  const auto all_bytes = static_cast<std::size_t>(count * element_bytes);
  Bytes data;
  data.reserve(all_bytes);
  for (hsize_t first = 0; std::cmp_less(first, count); first += chunk) {
    hsize_t stored = 0;
    checked(H5Dget_chunk_storage_size(dataset.id(), &first, &stored), action);
    require(stored >= 1 && std::cmp_less_equal(stored, file_bytes),
            "a chunk of dataset '" + name + "' is missing or larger than the file");
    Bytes bytes(static_cast<std::size_t>(stored));
    std::uint32_t skipped = 0;
    checked(H5Dread_chunk(dataset.id(), H5P_DEFAULT, &first, &skipped, bytes.data()), action);
    const auto applied = [&](std::optional<unsigned> filter) {
      return filter && ((skipped >> *filter) & 1u) == 0;
    };
    if (applied(filters.deflate)) bytes = inflate(bytes, chunk_bytes, name);
    require(bytes.size() == chunk_bytes, "a chunk of dataset '" + name + "' has another size than it says");
    if (applied(filters.shuffle)) bytes = unshuffle(bytes, static_cast<std::size_t>(element_bytes));
    // The last chunk may go on beyond the dataset's end.
    const std::size_t used = std::min(chunk_bytes, all_bytes - data.size());
    data.insert(data.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(used));
  }
  return data;
}

}  // namespace bitfall::hdf5
