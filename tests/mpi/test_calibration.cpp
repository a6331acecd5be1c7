// The same bits on any number of ranks: what the ranks find together is what one rank finds alone with the
// same list of micro-batches.
#include <limits>
#include <string>
#include <vector>

#include "../unit/calibration/gram_oracle.hpp"
#include "../unit/calibration/small_network.hpp"
#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

/// This rank's share of a list.
template <class T>
std::vector<T> mine(const std::vector<T>& all, const Communicator& world) {
  const auto share = world.share(static_cast<std::int64_t>(all.size()));
  return {all.begin() + share.first, all.begin() + share.last};
}

/// A number that depends on every bit of the logits, the same on all ranks.
std::vector<float> all_logits(const std::vector<c10::IValue>& logits, const Communicator& communicator) {
  std::vector<float> values;
  for (const c10::IValue& result : logits) {
    const at::Tensor plain = result.toTensor().contiguous();
    values.insert(values.end(), plain.const_data_ptr<float>(), plain.const_data_ptr<float>() + plain.numel());
  }
  return communicator.all_gather(std::span<const float>(values));
}

}  // namespace

TEST_CASE("Gram matrices do not depend on the number of ranks") {
  const Communicator world = Communicator::world();
  const Communicator alone = Communicator::self();
  for (const std::int64_t micro_batches : {1, 3, 7}) {  // some ranks have none
    const auto all = small_images(micro_batches);
    for (const bool per_position : {false, true}) {
      for (const std::int64_t stride : {1, 2}) {
        const Layer layer = convolution({4, 3, 3, 3}, {stride, stride}, {1, 1}, {1, 1}, 1);
        const GramParameters parameters{.d = 9, .per_position = per_position, .threads = 2};
        const Gram expected = accumulate_gram(layer, all, parameters, alone);
        const Gram together = accumulate_gram(layer, mine(all, world), parameters, world);
        REQUIRE(together.samples == expected.samples);
        REQUIRE(together.pooled == expected.pooled);
        REQUIRE(together.per_position == expected.per_position);
      }
    }
  }
}

TEST_CASE("whole Gram matrices and cross moments do not depend on the number of ranks") {
  const Communicator world = Communicator::world();
  const Communicator alone = Communicator::self();
  for (const std::int64_t micro_batches : {1, 3, 7}) {  // some ranks have none
    const auto student = small_images(micro_batches);
    std::vector<at::Tensor> teacher;
    for (const at::Tensor& images : student) teacher.push_back(images.flip({3}));
    for (const std::int64_t rows : {0, 90}) {
      const Layer layer = convolution({4, 3, 3, 3}, {1, 2}, {1, 1}, {1, 1}, 1);
      const FullGramParameters parameters{.rows = rows, .seed = 4, .stream = 5, .threads = 2};
      const FullGram expected = accumulate_full_gram(layer, student, parameters, alone);
      const FullGram together = accumulate_full_gram(layer, mine(student, world), parameters, world);
      REQUIRE(together.samples == expected.samples);
      REQUIRE(together.lower == expected.lower);
      const std::vector<float> weight(4 * 27, 0.37F);
      // Shifted products too: the window fits them.
      std::vector<at::Tensor> wide;
      for (const at::Tensor& images : student) wide.push_back(images.repeat({1, 16, 1, 1}).contiguous());
      const Layer deep = convolution({4, 48, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
      REQUIRE(accumulate_full_gram(deep, mine(wide, world), parameters, world).lower ==
              accumulate_full_gram(deep, wide, parameters, alone).lower);
      const std::vector<float> gain{1, 2, -3, 0};
      std::vector<at::Tensor> right, given;
      for (const at::Tensor& images : student) {
        right.push_back(
            images.repeat({1, 2, 1, 1}).narrow(1, 0, 4).slice(3, 0, c10::nullopt, 2).contiguous());
        given.push_back(right.back() * 0.5);
      }
      const auto right_here = mine(right, world), given_here = mine(given, world);
      const auto student_here = mine(student, world), teacher_here = mine(teacher, world);
      WantedOutput here{.weight = weight, .teacher_inputs = teacher_here};
      WantedOutput all{.weight = weight, .teacher_inputs = teacher};
      REQUIRE(accumulate_cross_moments(layer, here, student_here, parameters, world) ==
              accumulate_cross_moments(layer, all, student, parameters, alone));
      here.shortcuts = {right_here, given_here, gain};
      all.shortcuts = {right, given, gain};
      REQUIRE(accumulate_cross_moments(layer, here, student_here, parameters, world) ==
              accumulate_cross_moments(layer, all, student, parameters, alone));
      // The teacher's outputs; the shortcuts have their shape.
      here = {.teacher_outputs = right_here, .bias = at::ones({4}), .shortcuts = here.shortcuts};
      all = {.teacher_outputs = right, .bias = at::ones({4}), .shortcuts = all.shortcuts};
      REQUIRE(accumulate_cross_moments(layer, here, student_here, parameters, world) ==
              accumulate_cross_moments(layer, all, student, parameters, alone));
    }
  }
}

TEST_CASE("a bad image on one rank is an error on all, with the layer's name") {
  const Communicator world = Communicator::world();
  auto local = small_images(2);
  if (world.rank() == world.size() - 1) local[1].fill_(std::numeric_limits<float>::infinity());
  std::string message;
  try {
    (void)accumulate_gram(convolution({4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1), local, {.d = 9}, world);
  } catch (const DataError& error) {
    message = error.what();
  }
  REQUIRE(message.find("layer 'block.conv'") == 0);
  for (const std::string& other : world.all_gather(message)) REQUIRE(other == message);
}

TEST_CASE("a walk with new batch-norm statistics gives the same logits on any number of ranks") {
  const Communicator world = Communicator::world();
  const Communicator alone = Communicator::self();
  const auto run = [](const std::vector<at::Tensor>& images, const Communicator& communicator) {
    Network network = small_network();
    const auto logits = walk(network, images, {.threads = 2}, communicator, [&](const WalkStep& step) {
      if (const BatchNormStep* batch_norm = network.batch_norm_of_step(step.step)) {
        reestimate_batch_norm(network, *batch_norm, step, 2, communicator);
      }
    });
    return all_logits(logits, communicator);
  };
  for (const std::int64_t micro_batches : {1, 6}) {
    const auto all = small_images(micro_batches);
    REQUIRE(run(mine(all, world), world) == run(all, alone));
  }
}

TEST_CASE("an image that does not fit is named by its place in the whole list") {
  const Communicator world = Communicator::world();
  auto all = small_images(6);
  all[4] = at::zeros({1, 4, 10, 10});
  std::string message;
  try {
    (void)walk(small_network(), mine(all, world), {.threads = 2}, world, {});
  } catch (const DataError& error) {
    message = error.what();
  }
  REQUIRE(message.find("micro-batch 4: ") == 0);
  for (const std::string& other : world.all_gather(message)) REQUIRE(other == message);
}
