#pragma once
/// HDF5's C API with owners for its identifiers and exceptions for its status codes.
///
/// HDF5 is not thread-safe: all calls come from one thread.
#include <hdf5.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace bitfall::hdf5 {

/// What HDF5 itself says went wrong. Callers turn it into DataError or IoError with the file's name.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Failure: `action`, then the innermost message of HDF5's error stack, which it clears.
[[noreturn]] void fail(const std::string& action);

/// Returns `id` (or a status, a count ...) unless it is negative.
template <class Status>
Status checked(Status status, const std::string& action) {
  if (status < 0) fail(action);
  return status;
}

/// Turns HDF5's automatic printing of errors off while it lives.
class QuietErrors {
 public:
  QuietErrors();
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  ~QuietErrors();

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// Owns an identifier of one kind; `Close` is that kind's close function.
template <herr_t (*Close)(hid_t)>
class Handle {
 public:
  Handle() = default;
  /// Throws Failure when `id` is negative.
  Handle(hid_t id, const std::string& action) : id_(checked(id, action)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) Close(id_);
  }
  [[nodiscard]] hid_t id() const { return id_; }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

using File = Handle<H5Fclose>;
using Dataset = Handle<H5Dclose>;
using Attribute = Handle<H5Aclose>;
using Dataspace = Handle<H5Sclose>;
using Datatype = Handle<H5Tclose>;
using PropertyList = Handle<H5Pclose>;

/// A name that no other open file in memory has: HDF5's core driver takes files of one name for one file.
[[nodiscard]] std::string memory_file_name();

/// IEEE binary16, little endian: what h5py calls float16.
[[nodiscard]] Datatype half_type();

}  // namespace bitfall::hdf5
