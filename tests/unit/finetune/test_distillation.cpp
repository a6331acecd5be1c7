#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "finetune/distillation.hpp"

using namespace bitfall;

namespace {

std::vector<double> log_softmax(const float* logits, std::int64_t classes, double temperature) {
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(double(logits[c]) / temperature);
  std::vector<double> result;
  for (std::int64_t c = 0; c < classes; ++c)
    result.push_back(double(logits[c]) / temperature - std::log(sum));
  return result;
}

}  // namespace

TEST_CASE("the loss is KL(teacher || student) T^2 and the labels' cross-entropy, a batch's mean") {
  const at::Tensor student = at::randn({6, 7});
  const at::Tensor teacher = at::randn({6, 7});
  const std::vector<std::int64_t> labels = {0, 6, 3, 3, 1, 2};
  for (const double temperature : {1.0, 4.0}) {
    for (const double weight : {0.0, 0.5}) {
      double expected = 0;
      for (std::int64_t i = 0; i < 6; ++i) {
        const auto p = log_softmax(teacher.const_data_ptr<float>() + 7 * i, 7, temperature);
        const auto q = log_softmax(student.const_data_ptr<float>() + 7 * i, 7, temperature);
        for (std::size_t c = 0; c < 7; ++c)
          expected += std::exp(p[c]) * (p[c] - q[c]) * temperature * temperature;
        const auto plain = log_softmax(student.const_data_ptr<float>() + 7 * i, 7, 1);
        expected -= weight * plain[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
      }
      const at::Tensor loss = distillation_loss(student, teacher, labels, {temperature, weight}, 24);
      REQUIRE(loss.item<double>() == Approx(expected / 24).epsilon(1e-5));
    }
  }
}

TEST_CASE("another number of classes and bad labels are refused") {
  const std::vector<std::int64_t> labels = {0, 7};
  const at::Tensor logits = at::zeros({2, 7});
  REQUIRE_THROWS_AS(distillation_loss(logits, at::zeros({2, 8}), labels, {}, 2), DataError);
  REQUIRE_THROWS_AS(distillation_loss(logits, logits, labels, {1, 1}, 2), DataError);
  REQUIRE_NOTHROW(distillation_loss(logits, logits, labels, {1, 0}, 2));
}
