#include "finetune/device_codes.hpp"

#include <ATen/ops/tensor.h>

#include <numeric>
#include <vector>

namespace bitfall {

DeviceCodes device_codes(std::span<const std::uint16_t> codes, std::int64_t k, at::Device device) {
  std::vector<std::int64_t> starts(static_cast<std::size_t>(k) + 1, 0);
  for (const std::uint16_t code : codes) ++starts[code + std::size_t{1}];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<std::int64_t> place = starts;
  std::vector<std::int32_t> order(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    order[static_cast<std::size_t>(place[codes[i]]++)] = static_cast<std::int32_t>(i);
  const std::vector<std::int32_t> wide(codes.begin(), codes.end());
  return {at::tensor(at::ArrayRef<std::int32_t>(wide)).to(device),
          at::tensor(at::ArrayRef<std::int32_t>(order)).to(device),
          at::tensor(at::ArrayRef<std::int64_t>(starts)).to(device)};
}

}  // namespace bitfall
