#include <ATen/ops/cat.h>
#include <ATen/ops/var.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "calibration/channel_kernels.hpp"
#include "catch.hpp"
#include "small_network.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

const Communicator alone = Communicator::self();
const BatchNormStep bn1{.name = "bn1",
                        .running_mean = "bn1.running_mean",
                        .running_variance = "bn1.running_var",
                        .scale = "bn1.weight",
                        .shift = "bn1.bias",
                        .epsilon = 1e-5};

/// What a walk without a teacher shows; `inputs` must live on.
WalkStep step_with(const std::vector<at::Tensor>& inputs) {
  WalkStep step;
  step.inputs = inputs;
  return step;
}

void require_close(const at::Tensor& ours, const at::Tensor& oracle) {
  const at::Tensor error = (ours.to(at::kDouble) - oracle).abs();
  const at::Tensor bound = oracle.abs() * 1e-7 + 1e-30;  // one rounding to float
  REQUIRE((error <= bound).all().item<bool>());
}

void require_equal_to_torch(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> columns;
  for (const at::Tensor& input : inputs) {
    columns.push_back(input.to(at::kDouble).transpose(0, 1).reshape({input.size(1), -1}));
  }
  const at::Tensor all = at::cat(columns, 1);
  at::Tensor first_mean;
  at::Tensor first_variance;
  for (const int threads : {1, 2, 3}) {
    Network network = small_network();
    reestimate_batch_norm(network, bn1, step_with(inputs), threads, alone);
    const at::Tensor mean = network.tensor("bn1.running_mean").clone();
    const at::Tensor variance = network.tensor("bn1.running_var").clone();
    require_close(mean, all.mean(1));
    require_close(variance, all.var(1, true));
    if (threads == 1) {
      first_mean = mean;
      first_variance = variance;
    }
    REQUIRE(same(mean, first_mean));
    REQUIRE(same(variance, first_variance));
  }
}

}  // namespace

TEST_CASE("mean and unbiased variance are those of torch in double") {
  require_equal_to_torch({at::randn({3, 8, 5, 7}) + 2, at::randn({2, 8, 5, 7}) * 3, at::randn({1, 8, 5, 7})});
  require_equal_to_torch({at::randn({4, 8, 9, 9}), at::randn({4, 8, 3, 3})});
  require_equal_to_torch({at::randn({30, 8})});
  require_equal_to_torch({at::randn({4, 8, 11})});
}

TEST_CASE("a small spread around a large mean is not lost") {
  require_equal_to_torch({at::randn({8, 8, 16, 16}) + 1000, at::randn({8, 8, 16, 16}) + 1001});
}

TEST_CASE("channels-last and strided inputs") {
  const at::Tensor x = at::randn({4, 8, 6, 6});
  require_equal_to_torch({x.contiguous(at::MemoryFormat::ChannelsLast), x.slice(3, 0, 6, 2)});
}

TEST_CASE("a constant channel has variance zero; a single value too") {
  Network network = small_network();
  reestimate_batch_norm(network, bn1, step_with(std::vector{at::ones({2, 8, 4, 4}) * 3}), 1, alone);
  REQUIRE(same(network.tensor("bn1.running_mean"), at::ones({8}) * 3));
  REQUIRE(same(network.tensor("bn1.running_var"), at::zeros({8})));
  reestimate_batch_norm(network, bn1, step_with(std::vector{at::ones({1, 8, 1, 1}) * 5}), 1, alone);
  REQUIRE(same(network.tensor("bn1.running_mean"), at::ones({8}) * 5));
  REQUIRE(same(network.tensor("bn1.running_var"), at::zeros({8})));
}

TEST_CASE("without images nothing changes") {
  Network network = small_network();
  reestimate_batch_norm(network, bn1, WalkStep{}, 1, alone);
  REQUIRE(same(network.tensor("bn1.running_var"), at::ones({8})));
}

TEST_CASE("NaN is refused with the name of the batch norm, and the statistics stay") {
  Network network = small_network();
  at::Tensor x = at::randn({2, 8, 4, 4});
  x.select(0, 1).select(0, 7).select(0, 3).select(0, 3).fill_(std::numeric_limits<float>::quiet_NaN());
  try {
    reestimate_batch_norm(network, bn1, step_with(std::vector{x}), 2, alone);
    FAIL("no exception");
  } catch (const DataError& error) {
    REQUIRE(std::string(error.what()).find("'bn1'") != std::string::npos);
  }
  REQUIRE(same(network.tensor("bn1.running_mean"), at::zeros({8})));
  REQUIRE_THROWS_AS(
      reestimate_batch_norm(network, bn1, step_with(std::vector{at::randn({2, 7, 4, 4})}), 1, alone),
      DataError);
}

TEST_CASE("beside a teacher each channel keeps the mean and variance it has there, folded or not") {
  const auto normalised = [](const at::Tensor& x, const Network& network) {
    const auto shape = [](const at::Tensor& t) { return t.to(at::kDouble).view({1, -1, 1, 1}); };
    return (x.to(at::kDouble) - shape(network.tensor("bn1.running_mean"))) /
           (shape(network.tensor("bn1.running_var")) + bn1.epsilon).sqrt();
  };
  for (const bool folded : {true, false}) {
    Network teacher = small_network();
    if (!folded) {
      teacher.set_tensor("bn1.running_mean", at::arange(8, at::kFloat));
      teacher.set_tensor("bn1.running_var", at::arange(8, at::kFloat) * 0.5 + 0.25);
    }
    Network student = small_network();
    student.set_tensor("bn1.running_mean", at::full({8}, 99.0));  // what the student has is not asked for
    const at::Tensor x = at::randn({5, 8, 6, 6}) * 3 + 1;
    const std::vector<at::Tensor> teacher_inputs{x}, inputs{x * 0.4 + 2};
    WalkStep step = step_with(inputs);
    step.teacher = &teacher;
    step.teacher_inputs = teacher_inputs;
    reestimate_batch_norm(student, bn1, step, 2, alone);
    const at::Tensor wanted = normalised(x, teacher), found = normalised(inputs[0], student);
    REQUIRE((wanted - found).abs().max().item<double>() < 1e-4);  // a channel-wise map is undone exactly
  }
}

TEST_CASE("channel sums are the plain sums for every length") {
  for (const std::int64_t length : {0, 1, 7, 8, 9, 15, 16, 17, 100, 3136}) {
    std::vector<float> values(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i)) + 1;
    long double first = 0;
    long double second = 0;
    for (const float value : values) {
      const long double difference = static_cast<long double>(value) - 0.75L;
      first += difference;
      second += difference * difference;
    }
    REQUIRE(centered_sum(values.data(), length, 0.75, 1) ==
            Approx(static_cast<double>(first)).epsilon(1e-13));
    REQUIRE(centered_sum(values.data(), length, 0.75, 2) ==
            Approx(static_cast<double>(second)).epsilon(1e-13));
  }
}
