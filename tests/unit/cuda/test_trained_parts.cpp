// Gradients of codebooks and decoding against their twins on the host, bit for bit.
#include <algorithm>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "cuda/kernels/trained_parts.hpp"
#include "finetune/codebook_gradient.hpp"
#include "kernel_device.hpp"
#include "kernel_inputs.hpp"

using namespace bitfall;

namespace {

/// One part with all of its arrays, on the host and on the device.
class PartCase {
 public:
  /// A codebook of k codewords for n blocks; most blocks have the first one, and some codewords have none.
  PartCase(const cuda::Device& device, std::int64_t n, std::int64_t d, std::int64_t k, Values kind,
           std::mt19937_64& random)
      : codes_(static_cast<std::size_t>(n)) {
    for (auto& code : codes_)
      code = random() % 3 != 0 ? std::uint16_t{0}
                               : static_cast<std::uint16_t>(random() % static_cast<std::uint64_t>(k) / 2 * 2);
    fill(device, k * d, n * d, kind, random);
    part.d = d;
    std::vector<std::int32_t> order;
    std::vector<std::int64_t> starts{0};
    for (std::int64_t c = 0; c < k; ++c) {
      for (std::int64_t i = 0; i < n; ++i)
        if (codes_[static_cast<std::size_t>(i)] == c) order.push_back(static_cast<std::int32_t>(i));
      starts.push_back(std::ssize(order));
    }
    const std::vector<std::int32_t> wide(codes_.begin(), codes_.end());
    codes_there_ = std::make_unique<cuda::Buffer<std::int32_t>>(device, std::span<const std::int32_t>(wide));
    order_there_ = std::make_unique<cuda::Buffer<std::int32_t>>(device, std::span<const std::int32_t>(order));
    starts_there_ =
        std::make_unique<cuda::Buffer<std::int64_t>>(device, std::span<const std::int64_t>(starts));
    part.codes = codes_there_->data();
    part.order = order_there_->data();
    part.starts = starts_there_->data();
  }
  /// A tensor as it is.
  PartCase(const cuda::Device& device, std::int64_t length, Values kind, std::mt19937_64& random) {
    fill(device, length, length, kind, random);
  }

  void expect_gradient(std::span<double> gradient) const {
    if (part.d > 0)
      codebook_gradient(gradient_, codes_, part.d, gradient);
    else
      std::copy(gradient_.begin(), gradient_.end(), gradient.begin());
  }
  void require_weight(std::span<const float> values) const {
    std::vector<float> expected(gradient_.size()), found(gradient_.size());
    if (part.d > 0)
      decode_blocks(values, codes_, part.d, expected);
    else
      expected.assign(values.begin(), values.end());
    weight_there_->download(found);
    REQUIRE(found == expected);
  }

  TrainedPart part;

 private:
  void fill(const cuda::Device& device, std::int64_t length, std::int64_t weights, Values kind,
            std::mt19937_64& random) {
    part.length = length;
    part.weights = weights;
    gradient_ = random_values(weights, kind, random);
    gradient_there_ = std::make_unique<cuda::Buffer<float>>(device, std::span<const float>(gradient_));
    weight_there_ = std::make_unique<cuda::Buffer<float>>(device, weights);
    part.gradient = gradient_there_->data();
    part.weight = weight_there_->data();
  }

  std::vector<std::uint16_t> codes_;
  std::vector<float> gradient_;
  std::unique_ptr<cuda::Buffer<std::int32_t>> codes_there_, order_there_;
  std::unique_ptr<cuda::Buffer<std::int64_t>> starts_there_;
  std::unique_ptr<cuda::Buffer<float>> gradient_there_, weight_there_;
};

/// All parts in one launch, as training does it.
void require_equal_to_twins(const cuda::Device& device, std::vector<PartCase>& cases,
                            std::mt19937_64& random) {
  std::vector<TrainedPart> parts;
  std::vector<std::int64_t> gathered{0}, written{0};
  std::int64_t length = 0;
  for (PartCase& each : cases) {
    each.part.first = length;
    length += each.part.length;
    parts.push_back(each.part);
    gathered.push_back(gathered.back() + cuda::gradient_blocks(each.part));
    written.push_back(written.back() + cuda::weight_blocks(each.part));
  }
  const cuda::Buffer<TrainedPart> there(device, std::span<const TrainedPart>(parts));
  const cuda::Buffer<std::int64_t> gathered_there(device, std::span<const std::int64_t>(gathered)),
      written_there(device, std::span<const std::int64_t>(written));
  cuda::Buffer<double> gradient(device, length);
  cuda::gather_gradients({there.data(), gathered_there.data(), there.size()}, gathered.back(),
                         gradient.data(), device);
  std::vector<double> found(static_cast<std::size_t>(length)), expected(found.size());
  gradient.download(found);
  const auto span_of = [](auto& values, const TrainedPart& part) {
    return std::span(values).subspan(static_cast<std::size_t>(part.first),
                                     static_cast<std::size_t>(part.length));
  };
  for (const PartCase& each : cases) each.expect_gradient(span_of(expected, each.part));
  REQUIRE(found == expected);
  const std::vector<float> values = random_values(length, Values::normal, random);
  const cuda::Buffer<float> values_there(device, std::span<const float>(values));
  cuda::write_weights({there.data(), written_there.data(), there.size()}, written.back(), values_there.data(),
                      device);
  for (const PartCase& each : cases) each.require_weight(span_of(values, each.part));
}

}  // namespace

TEST_CASE("trained parts: codebooks of every d and tensors, all at once") {
  std::mt19937_64 random(1);
  const cuda::Device device = kernel_device(1);
  std::vector<PartCase> cases;
  for (const std::int64_t d : {1, 4, 9, 18, 25})
    for (const std::int64_t k : {1, 5, 40}) {
      cases.emplace_back(device, 1 + d * 37 % 301, d, k, Values::normal, random);
      cases.emplace_back(device, 1 + d * k, Values::normal, random);
    }
  cases.emplace_back(device, 3000, 4, 16, Values::normal, random);  // several tiles for the first codeword
  cases.emplace_back(device, 2500, Values::denormal, random);       // several blocks of threads
  require_equal_to_twins(device, cases, random);
}

TEST_CASE("trained parts: blocks longer than a block of threads, nasty values") {
  std::mt19937_64 random(2);
  const cuda::Device device = kernel_device(2);
  for (const Values kind : all_values) {
    std::vector<PartCase> cases;
    cases.emplace_back(device, 30, 300, 3, kind, random);
    cases.emplace_back(device, 257, 9, 2, kind, random);
    require_equal_to_twins(device, cases, random);
  }
}

TEST_CASE("trained parts: a single one") {
  std::mt19937_64 random(3);
  const cuda::Device device = kernel_device(3);
  std::vector<PartCase> cases;
  cases.emplace_back(device, 1, Values::normal, random);
  require_equal_to_twins(device, cases, random);
}
