#include "finetune/device_codes.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/segment_reduce.h>
#include <ATen/ops/tensor.h>

#include <numeric>
#include <vector>

namespace bitfall {

DeviceCodes device_codes(std::span<const std::uint16_t> codes, std::int64_t k, at::Device device) {
  std::vector<std::int64_t> members(static_cast<std::size_t>(k), 0);
  for (const std::uint16_t code : codes) ++members[code];
  std::vector<std::int64_t> place(members.size());
  std::exclusive_scan(members.begin(), members.end(), place.begin(), std::int64_t{0});
  std::vector<std::int32_t> order(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    order[static_cast<std::size_t>(place[codes[i]]++)] = static_cast<std::int32_t>(i);
  const std::vector<std::int32_t> wide(codes.begin(), codes.end());
  return {at::tensor(at::ArrayRef<std::int32_t>(wide)).to(device),
          at::tensor(at::ArrayRef<std::int32_t>(order)).to(device),
          at::tensor(at::ArrayRef<std::int64_t>(members)).to(device)};
}

at::Tensor device_codebook_gradient(const at::Tensor& dense, const DeviceCodes& codes, std::int64_t d) {
  const at::Tensor sorted = dense.reshape({-1, d}).index_select(0, codes.order).to(at::kDouble);
  // g_c = sum of its members' gradients / |members|; LibTorch adds the rows of a segment one by one
  const at::Tensor sums = at::segment_reduce(sorted, "sum", codes.members, {}, {}, 0, /*unsafe=*/true, 0.0);
  return sums / codes.members.clamp_min(1).unsqueeze(1);
}

at::Tensor device_decode(const at::Tensor& codebook, const DeviceCodes& codes) {
  return codebook.index_select(0, codes.codes);
}

}  // namespace bitfall
