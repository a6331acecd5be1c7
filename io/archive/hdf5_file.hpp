#pragma once
/// HDF5 files as byte strings: written into and read from memory, so that all I/O on the disk is ours and a
/// full disk can't confuse HDF5. Only what an archive needs: root attributes, flat arrays and tables.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hdf5.hpp"
#include "memory_file.hpp"
#include "table.hpp"

namespace bitfall::hdf5 {

/// Builds a file, as small as HDF5 allows. It has no hashes of its own: the seal vouches for every byte.
class Writer {
 public:
  /// Without `compress` no dataset is compressed.
  explicit Writer(bool compress);

  void attribute(const std::string& name, std::string_view text);
  void attribute(const std::string& name, std::int64_t value);
  void dataset(const std::string& name, std::string_view bytes);
  void dataset(const std::string& name, std::span<const std::uint8_t> bytes);
  void dataset(const std::string& name, std::span<const std::int8_t> values);
  void dataset(const std::string& name, std::span<const float> values);
  /// fp16 bits
  void half_dataset(const std::string& name, std::span<const std::uint16_t> values);
  void dataset(const Table& table);
  /// Uncompressed bytes of all datasets so far.
  [[nodiscard]] std::int64_t declared_bytes() const { return declared_bytes_; }

  /// The whole file. Nothing can be added afterwards.
  [[nodiscard]] std::string finish();

 private:
  void write(const std::string& name, hid_t stored_type, hid_t memory_type, std::int64_t count,
             std::span<const std::uint8_t> bytes);

  bool compress_;
  std::int64_t declared_bytes_ = 0;
  std::unique_ptr<MemoryFile> image_;  ///< on the heap because HDF5 holds its address
  File file_;
};

/// Reads a file that nobody vouches for. Datasets must be plain: no links elsewhere, no filters but shuffle
/// and deflate, no types but those that Writer makes, and together not larger than `budget` bytes.
/// Throws DataError or Failure naming the dataset.
class Reader {
 public:
  Reader(std::string_view image, std::int64_t budget);

  [[nodiscard]] std::string text_attribute(const std::string& name) const;
  [[nodiscard]] std::int64_t integer_attribute(const std::string& name) const;
  [[nodiscard]] std::vector<std::uint8_t> bytes(const std::string& name);
  [[nodiscard]] std::string text(const std::string& name);
  [[nodiscard]] std::vector<std::int8_t> integers(const std::string& name);
  [[nodiscard]] std::vector<std::uint16_t> halves(const std::string& name);
  [[nodiscard]] std::vector<float> floats(const std::string& name);
  [[nodiscard]] Table table(const std::string& name);
  /// Bytes that the dataset takes in the file, after compression.
  [[nodiscard]] std::int64_t stored_bytes(const std::string& name) const;
  /// Takes `bytes` from the budget; DataError when it is exhausted.
  void spend(std::int64_t bytes, const std::string& on_what);

 private:
  [[nodiscard]] Dataset open(const std::string& name) const;
  [[nodiscard]] std::vector<std::uint8_t> read(const Dataset& dataset, const std::string& name,
                                               const Datatype& stored, const Datatype& memory);
  template <class T>
  [[nodiscard]] std::vector<T> values(const std::string& name, hid_t expected);

  File file_;
  std::int64_t file_bytes_;
  std::int64_t budget_;
};

}  // namespace bitfall::hdf5
