#pragma once
/// Datasets that hold the data of several owners.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {

/// Keeps products with a number of codewords or the bytes of an element below 2^63.
constexpr std::int64_t most_elements = std::int64_t{1} << 40;

/// Data of several owners one after the other, without gaps.
template <class T>
class Parts {
 public:
  Parts(std::vector<T> data, std::string name) : data_(std::move(data)), name_(std::move(name)) {}

  /// The next `count` elements.
  std::span<const T> take(std::int64_t count, const std::string& owner) {
    if (count < 0 || std::cmp_greater(count, data_.size() - taken_))
      throw DataError(owner + " needs more than what is left of '" + name_ + "'");
    const auto part = std::span(data_).subspan(taken_, static_cast<std::size_t>(count));
    taken_ += part.size();
    return part;
  }

  void require_all_taken() const {
    if (taken_ != data_.size()) throw DataError("'" + name_ + "' has data that belong to nothing");
  }

 private:
  std::vector<T> data_;
  std::string name_;
  std::size_t taken_ = 0;
};

}  // namespace bitfall
