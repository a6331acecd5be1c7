#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eq.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include <numeric>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "evaluation.hpp"

using namespace bitfall;

TEST_CASE("figures equal those of LibTorch's own operators") {
  const at::Tensor logits = at::randn({100, 12}), teacher = at::randn({100, 12});
  std::vector<std::int64_t> labels(100);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>((i * 7) % 12);
  const at::Tensor target = at::tensor(labels);

  Evaluation evaluation;
  evaluation.add(logits, labels, teacher);
  CHECK(evaluation.images() == 100);
  CHECK(evaluation.top1() == Approx(logits.argmax(1).eq(target).sum().item<double>()));
  const at::Tensor five = std::get<1>(logits.topk(5, 1));
  CHECK(evaluation.top5() == Approx(five.eq(target.unsqueeze(1)).sum().item<double>()));
  CHECK(evaluation.loss() == Approx(at::cross_entropy_loss(logits, target).item<double>()).epsilon(1e-5));
  CHECK(evaluation.agreement() == Approx(logits.argmax(1).eq(teacher.argmax(1)).sum().item<double>()));
  const double kl =
      at::kl_div(logits.log_softmax(1), teacher.log_softmax(1), 2 /* sum */, true).item<double>() / 100;
  CHECK(evaluation.divergence() == Approx(kl / 1).epsilon(1e-5));
}

TEST_CASE("the order and the grouping of images change no bit") {
  const at::Tensor logits = at::randn({64, 10}).mul(8);
  std::vector<std::int64_t> labels(64);
  std::iota(labels.begin(), labels.end(), std::int64_t{0});
  for (auto& label : labels) label %= 10;
  Evaluation whole, parts;
  whole.add(logits, labels, at::Tensor());
  for (std::int64_t first = 48; first >= 0; first -= 16) {
    Evaluation part;
    part.add(logits.slice(0, first, first + 16),
             std::span(labels).subspan(static_cast<std::size_t>(first), 16), at::Tensor());
    parts.add(part);
  }
  CHECK(whole.loss() == parts.loss());
  CHECK(whole.top5() == parts.top5());
}

TEST_CASE("with equal scores the lower class wins, as in argmax") {
  Evaluation evaluation;
  const std::vector<std::int64_t> labels = {0, 3};
  evaluation.add(at::zeros({2, 10}), labels, at::Tensor());
  CHECK(evaluation.top1() == 50);
  CHECK(evaluation.top5() == 100);
}

TEST_CASE("infinite and NaN losses are capped, not spread") {
  Evaluation evaluation;
  const std::vector<std::int64_t> labels = {1};
  evaluation.add(at::tensor({1e30F, -1e30F}).unsqueeze(0), labels, at::Tensor());
  CHECK(evaluation.loss() == Approx(1 << 14));
}

TEST_CASE("labels and shapes are checked") {
  Evaluation evaluation;
  const std::vector<std::int64_t> high = {10}, negative = {-1}, two = {0, 0};
  CHECK_THROWS_AS(evaluation.add(at::zeros({1, 10}), high, at::Tensor()), DataError);
  CHECK_THROWS_AS(evaluation.add(at::zeros({1, 10}), negative, at::Tensor()), DataError);
  CHECK_THROWS_AS(evaluation.add(at::zeros({1, 10}), two, at::Tensor()), DataError);
  CHECK_THROWS_AS(evaluation.add(at::zeros({1, 10}), std::span(two).first(1), at::zeros({1, 9})), DataError);
}
