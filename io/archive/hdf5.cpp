#include "hdf5.hpp"

#include <cstdint>
#include <string>

namespace bitfall::hdf5 {

void fail(const std::string& action) {
  std::string message = action;
  // Downward ends at the function that found the error; its description is the reason.
  std::string reason;
  const H5E_walk2_t keep_last = [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
    *static_cast<std::string*>(data) = error->desc == nullptr ? "" : error->desc;
    return 0;
  };
  if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_last, &reason) >= 0 && !reason.empty())
    message += ": HDF5 says '" + reason + "'";
  H5Eclear2(H5E_DEFAULT);
  throw Failure(message);
}

QuietErrors::QuietErrors() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

QuietErrors::~QuietErrors() {
  H5Eset_auto2(H5E_DEFAULT, function_, data_);
}

Datatype half_type() {
  Datatype type(H5Tcopy(H5T_IEEE_F32LE), "making the fp16 type");
  // Sign at bit 15, exponent 10..14 with bias 15, fraction 0..9.
  checked(H5Tset_fields(type.id(), 15, 10, 5, 0, 10), "making the fp16 type");
  checked(H5Tset_size(type.id(), 2), "making the fp16 type");
  checked(H5Tset_ebias(type.id(), 15), "making the fp16 type");
  return type;
}

std::string memory_file_name() {
  static std::int64_t files = 0;  // one thread: HDF5 allows no more
  return "bitfall-archive-" + std::to_string(++files);
}

}  // namespace bitfall::hdf5
