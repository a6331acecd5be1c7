// Training gives the same bits on any number of ranks as on one, and an error on one rank ends all.
#include <vector>

#include "../unit/finetune/trainer_setup.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

struct Outcome {
  std::vector<float> values;
  at::Tensor mean, variance;
  std::vector<double> losses;
};

Outcome train(const Communicator& communicator, int threads) {
  TrainerSetup setup;
  Trainer trainer = setup.trainer({}, true, threads);
  const auto all = training_batches(5);
  const auto share = communicator.share(5);
  const std::vector<TrainingBatch> local(all.begin() + share.first, all.begin() + share.last);
  Outcome outcome;
  for (int step = 0; step < 6; ++step) {
    std::vector<std::int64_t> flags = {1};
    const StepReport report = trainer.step(local, {13, 5}, 0.05, flags, communicator);
    outcome.losses.push_back(report.loss);
    REQUIRE(report.images == 13);
    REQUIRE(flags[0] == communicator.size());
  }
  outcome.values.assign(trainer.space().values().begin(), trainer.space().values().end());
  outcome.mean = setup.student.tensor("bn1.running_mean").clone();
  outcome.variance = setup.student.tensor("bn1.running_var").clone();
  return outcome;
}

}  // namespace

TEST_CASE("six steps on all ranks and on one") {
  const Outcome alone = train(Communicator::self(), 1);
  for (const int threads : {1, 2}) {
    const Outcome shared = train(Communicator::world(), threads);
    REQUIRE(shared.values == alone.values);
    REQUIRE(shared.losses == alone.losses);
    REQUIRE(same(shared.mean, alone.mean));
    REQUIRE(same(shared.variance, alone.variance));
  }
}

TEST_CASE("a bad micro-batch on the last rank ends all ranks alike") {
  const Communicator world = Communicator::world();
  TrainerSetup setup;
  Trainer trainer = setup.trainer({}, false);
  std::vector<TrainingBatch> local = training_batches(2);
  if (world.rank() == world.size() - 1) local[0].images = at::zeros({1, 4, 10, 10});
  REQUIRE_THROWS_AS(trainer.step(local, {4 * world.size(), 2 * world.size()}, 0.05, {}, world), DataError);
}
