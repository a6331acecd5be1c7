#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>

#include <vector>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "trainer_setup.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

const Communicator alone = Communicator::self();

double loss_of(const TrainerSetup& setup, const std::vector<TrainingBatch>& batches) {
  double loss = 0;
  std::int64_t images = 0;
  for (const TrainingBatch& batch : batches) images += batch.images.size(0);
  for (const TrainingBatch& batch : batches) {
    loss += distillation_loss(setup.student.forward(batch.images), setup.teacher.forward(batch.images),
                              batch.labels, {}, images)
                .item<double>();
  }
  return loss;
}

}  // namespace

TEST_CASE("a step goes down the slope that finite differences see") {
  TrainerSetup setup;
  Trainer trainer = setup.trainer({.momentum = 0, .weight_decay = 0}, false);
  const auto batches = training_batches(3);
  const std::vector<float> before(trainer.space().values().begin(), trainer.space().values().end());
  std::vector<double> slopes;
  for (const std::size_t i : {std::size_t{0}, std::size_t{7}, std::size_t{40}}) {
    // Members of a codeword move together: the slope along it is the sum of theirs, the gradient their mean.
    const float h = 0.02F;
    double values[2];
    for (const int side : {0, 1}) {
      trainer.space().values()[i] = before[i] + (side == 0 ? -h : h);
      trainer.show();
      values[side] = loss_of(setup, batches);
    }
    trainer.space().values()[i] = before[i];
    slopes.push_back((values[1] - values[0]) / (2 * double(h)));
  }
  trainer.show();
  const double loss = loss_of(setup, batches);
  const StepReport report = trainer.step(batches, {7, 3}, 1.0, {}, alone);
  REQUIRE(report.loss == Approx(loss).epsilon(1e-5));
  std::size_t slope = 0;
  for (const std::size_t i : {std::size_t{0}, std::size_t{7}, std::size_t{40}}) {
    const double gradient = double(before[i]) - double(trainer.space().values()[i]);
    REQUIRE(gradient * setup.members(i) == Approx(slopes[slope++]).epsilon(0.03).margin(1e-4));
  }
}

TEST_CASE("how a batch is cut does not matter beyond rounding, and threads not at all") {
  std::vector<std::vector<float>> results;
  for (const int cut : {1, 2, 3}) {
    TrainerSetup setup;
    Trainer trainer = setup.trainer({}, false, cut == 3 ? 2 : 1);
    auto batches = training_batches(3);
    if (cut == 1) {
      TrainingBatch whole{at::cat({batches[0].images, batches[1].images, batches[2].images}),
                          {0, 1, 2, 0, 1, 2, 0}};
      batches = {whole};
    }
    for (int step = 0; step < 3; ++step)
      static_cast<void>(
          trainer.step(batches, {7, static_cast<std::int64_t>(batches.size())}, 0.05, {}, alone));
    results.emplace_back(trainer.space().values().begin(), trainer.space().values().end());
  }
  REQUIRE(results[1] == results[2]);
  for (std::size_t i = 0; i < results[0].size(); ++i)
    REQUIRE(results[0][i] == Approx(results[1][i]).epsilon(1e-4).margin(1e-6));
}

TEST_CASE("running statistics move as LibTorch's batch norm moves them in training") {
  TrainerSetup setup;
  const at::Tensor images = at::cat({training_batches(2)[0].images, training_batches(2)[1].images});
  at::Tensor mean = setup.student.tensor("bn1.running_mean").clone();
  at::Tensor variance = setup.student.tensor("bn1.running_var").clone();
  const at::Tensor input = at::conv2d(images, setup.student.tensor("conv1.weight"), {}, 1, 1);
  at::batch_norm(input, {}, {}, mean, variance, true, 0.1, 1e-5, false);
  Trainer trainer = setup.trainer({}, true);
  std::vector<TrainingBatch> whole = {{images, {0, 1, 2, 0}}};
  static_cast<void>(trainer.step(whole, {images.size(0), 1}, 0.0, {}, alone));
  REQUIRE(setup.student.tensor("bn1.running_mean").allclose(mean, 1e-5, 1e-7));
  REQUIRE(setup.student.tensor("bn1.running_var").allclose(variance, 1e-5, 1e-7));
  // In two micro-batches the statistics are still the whole batch's.
  TrainerSetup other;
  Trainer cut = other.trainer({}, true);
  static_cast<void>(cut.step(training_batches(2), {images.size(0), 2}, 0.0, {}, alone));
  REQUIRE(other.student.tensor("bn1.running_mean").allclose(mean, 1e-5, 1e-7));
  REQUIRE(other.student.tensor("bn1.running_var").allclose(variance, 1e-5, 1e-7));
}

TEST_CASE("training lowers the loss; a rate that is too high is an error, not a NaN in an archive") {
  TrainerSetup setup;
  Trainer trainer = setup.trainer({}, true);
  const auto batches = training_batches(3);
  const double first = trainer.step(batches, {7, 3}, 0.05, {}, alone).loss;
  double last = first;
  for (int step = 0; step < 30; ++step) last = trainer.step(batches, {7, 3}, 0.05, {}, alone).loss;
  REQUIRE(last < 0.9 * first);
  REQUIRE_THROWS_AS(
      [&] {
        for (int step = 0; step < 60; ++step)
          static_cast<void>(trainer.step(batches, {7, 3}, 1e12, {}, alone));
      }(),
      DataError);
}

TEST_CASE("bfloat16 gives the loss within its error, on any number of threads the same bits") {
  const auto batches = training_batches(3);
  const auto run = [&](Precision precision, int threads) {
    TrainerSetup setup;
    Trainer trainer = setup.trainer({}, false, threads, precision);
    std::vector<double> losses;
    for (int step = 0; step < 4; ++step)
      losses.push_back(trainer.step(batches, {7, 3}, 0.02, {}, alone).loss);
    return losses;
  };
  const auto full = run(Precision::fp32, 1), half = run(Precision::bf16, 1);
  CHECK(half != full);
  CHECK(run(Precision::bf16, 3) == half);
  for (std::size_t i = 0; i < full.size(); ++i) CHECK(half[i] == Approx(full[i]).epsilon(0.1).margin(1e-3));
  CHECK(run(Precision::fp32, 1) == full);  // nothing is left switched on
}

TEST_CASE("flags travel with a step") {
  TrainerSetup setup;
  Trainer trainer = setup.trainer({}, false);
  std::vector<std::int64_t> flags = {1, 0};
  static_cast<void>(trainer.step(training_batches(2), {4, 2}, 0.05, flags, alone));
  REQUIRE(flags == std::vector<std::int64_t>{1, 0});
}
