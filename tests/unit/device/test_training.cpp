// Distillation on a device: the host's codebooks (up to the order of sums), the same bits every time.
#include <cmath>

#include "../finetune/trainer_setup.hpp"
#include "catch.hpp"
#include "network_device.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

struct Trained {
  std::vector<float> values;
  std::vector<double> losses;
  at::Tensor weight, mean;
};

Trained train(const std::string& device, OptimizerParameters optimizer, bool train_batch_norms,
              Precision precision = Precision::fp32) {
  TrainerSetup setup(device.empty() ? nullptr : &network_arrays());
  if (!device.empty()) {
    setup.student.use_device(device);
    setup.teacher.use_device(device);
  }
  Trainer trainer = setup.trainer(optimizer, train_batch_norms, 2, precision);
  Trained trained;
  for (int i = 0; i < 4; ++i)
    trained.losses.push_back(trainer.step(training_batches(3), {7, 3}, 0.01, {}, Communicator::self()).loss);
  trained.values.assign(trainer.space().values().begin(), trainer.space().values().end());
  trained.weight = setup.student.tensor("conv2.weight").clone();
  trained.mean = setup.student.tensor("bn1.running_mean").clone();
  return trained;
}

void require_close(const Trained& found, const Trained& expected, double allowed) {
  for (std::size_t i = 0; i < expected.values.size(); ++i)
    REQUIRE(std::abs(found.values[i] - expected.values[i]) <=
            allowed * std::max(0.1F, std::abs(expected.values[i])));
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    REQUIRE(std::abs(found.losses[i] - expected.losses[i]) <= allowed * expected.losses[i]);
  REQUIRE((found.mean - expected.mean).abs().max().item<double>() <= allowed);
}

void require_same(const Trained& one, const Trained& other) {
  REQUIRE(one.values == other.values);
  REQUIRE(one.losses == other.losses);
  REQUIRE(same(one.weight, other.weight));
  REQUIRE(same(one.mean, other.mean));
}

}  // namespace

TEST_CASE("training on a device follows the host's") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
    for (const bool norms : {false, true}) {
      const OptimizerParameters optimizer{.kind = kind};
      const Trained host = train("", optimizer, norms), device = train(network_device(), optimizer, norms);
      require_close(device, host, 50 * tolerance);
      require_same(device, train(network_device(), optimizer, norms));
    }
  }
}

TEST_CASE("bf16 on a device gives finite, repeated, similar losses") {
  const OptimizerParameters optimizer{};
  const Trained exact = train("", optimizer, true),
                bf16 = train(network_device(), optimizer, true, Precision::bf16);
  for (std::size_t i = 0; i < exact.losses.size(); ++i)
    REQUIRE(std::abs(bf16.losses[i] - exact.losses[i]) <= 0.1 * exact.losses[i]);
  require_same(bf16, train(network_device(), optimizer, true, Precision::bf16));
}
