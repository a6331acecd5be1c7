#include <string>
#include <vector>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "small_network.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

const Communicator alone = Communicator::self();

/// The step that computes the layer `name`.
std::int64_t step_of(const Network& network, const std::string& name) {
  for (std::int64_t step = 0; step < network.step_count(); ++step) {
    const auto layer = network.layer_of_step(step);
    if (layer && network.layers()[*layer].name == name) return step;
  }
  FAIL("no layer " << name);
  return -1;
}

/// One micro-batch, just before a step.
LiveValues values_before(const Network& network, const at::Tensor& images, std::int64_t step) {
  LiveValues values = network.start(images.clone());
  for (std::int64_t s = 0; s < step; ++s) network.run_step(s, values);
  return values;
}

at::Tensor input_of(const Network& network, const at::Tensor& images, std::int64_t step) {
  return network.step_input(step, values_before(network, images, step));
}

at::Tensor output_of(const Network& network, const at::Tensor& images, std::int64_t step) {
  LiveValues values = values_before(network, images, step);
  network.run_step(step, values);
  return network.step_output(step, values);
}

}  // namespace

TEST_CASE("a walk gives the logits of the forward pass, in order, on any number of threads") {
  const Network network = small_network();
  const auto images = small_images(7);
  for (const int threads : {1, 2, 3}) {
    const auto logits = walk(network, images, {.threads = threads}, alone, {});
    REQUIRE(logits.size() == images.size());
    for (std::size_t i = 0; i < images.size(); ++i)
      REQUIRE(same(logits[i].toTensor(), network.forward(images[i])));
  }
}

TEST_CASE("no micro-batches: visitors are called all the same") {
  const Network network = small_network();
  int calls = 0;
  REQUIRE(walk(network, {}, {}, alone, [&](const WalkStep& step) {
            ++calls;
            REQUIRE(step.inputs.empty());
          }).empty());
  REQUIRE(calls == 4);
}

TEST_CASE("visitors see each layer and batch norm once, with the inputs of every micro-batch") {
  const Network network = small_network();
  const auto images = small_images(4);
  std::vector<std::string> names;
  std::int64_t last = -1;
  (void)walk(network, images, {.threads = 2}, alone, [&](const WalkStep& step) {
    REQUIRE(step.step > last);
    last = step.step;
    if (const auto layer = network.layer_of_step(step.step)) {
      names.push_back(network.layers()[*layer].name);
    } else {
      names.push_back(network.batch_norm_of_step(step.step)->name);
    }
    REQUIRE(step.inputs.size() == images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
      REQUIRE(same(step.inputs[i], input_of(network, images[i], step.step)));
    }
  });
  REQUIRE(names == std::vector<std::string>{"conv1", "bn1", "conv2", "fc"});
}

TEST_CASE("what a visitor changes acts on this and the following steps") {
  Network network = small_network();
  Network changed = small_network();
  changed.set_tensor("conv2.weight", changed.tensor("conv2.weight") * 2);
  const auto images = small_images(3);
  const std::int64_t conv2 = step_of(network, "conv2");
  const auto logits = walk(network, images, {}, alone, [&](const WalkStep& step) {
    if (step.step == conv2) network.set_tensor("conv2.weight", network.tensor("conv2.weight") * 2);
  });
  for (std::size_t i = 0; i < images.size(); ++i)
    REQUIRE(same(logits[i].toTensor(), changed.forward(images[i])));
}

TEST_CASE("images are given up as they are used, and the peak is that of the frontier") {
  const Network network = small_network();
  auto images = small_images(5);  // 4 * 3 + 1 images of 3 x 10 x 10
  const at::Tensor kept = images[0];
  WalkStatistics statistics;
  bool freed = false;
  const std::int64_t conv2 = step_of(network, "conv2");
  (void)walk(
      network, std::move(images), {}, alone,
      [&](const WalkStep& step) {
        if (step.step == conv2) freed = kept.use_count() == 1;  // nobody else holds the image now
      },
      &statistics);
  REQUIRE(freed);
  // Largest: the 8 x 10 x 10 output of a step and the 3 x 10 x 10 images are never alive together between two
  // steps; relu's output and its strided view share one storage; conv2 adds 8 x 5 x 5.
  REQUIRE(statistics.peak_frontier_bytes == 13 * (8 * 10 * 10 + 8 * 5 * 5) * 4);
}

TEST_CASE("an image that does not fit is named by its micro-batch and step") {
  const Network network = small_network();
  auto images = small_images(5);
  images[3] = at::zeros({2, 4, 10, 10});  // one channel too many
  for (const int threads : {1, 3}) {
    try {
      (void)walk(network, images, {.threads = threads}, alone, {});
      FAIL("no exception");
    } catch (const DataError& error) {
      const std::string message = error.what();
      INFO(message);
      REQUIRE(message.find("micro-batch 3: ") == 0);
      REQUIRE(message.find("conv1") != std::string::npos);
      REQUIRE(message.find("channels") != std::string::npos);
      REQUIRE(message.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("a visitor's error ends the walk") {
  const Network network = small_network();
  REQUIRE_THROWS_AS(
      walk(network, small_images(2), {}, alone, [](const WalkStep&) { throw IoError("disk full"); }),
      IoError);
}

TEST_CASE("the memory of a walk is predicted from one micro-batch") {
  const Network network = small_network();
  const std::vector<std::int64_t> shape{3, 10, 10};
  constexpr std::int64_t per_image = (8 * 10 * 10 + 8 * 5 * 5) * 4;
  REQUIRE(frontier_bytes_per_image(network, shape) == per_image);
  const WalkMemory one = predict_walk_memory(network, shape, 40, 4, 1);
  const WalkMemory two = predict_walk_memory(network, shape, 40, 4, 2);
  REQUIRE(one.bytes() >= 40 * per_image);
  REQUIRE(one.bytes() <= 40 * per_image + 4 * 10 * per_image);
  REQUIRE(two.bytes() > one.bytes());
  REQUIRE(two.bytes() <= one.bytes() + 4 * 10 * per_image);
  REQUIRE(predict_walk_memory(network, shape, 0, 4, 2).bytes() == 0);
  // Fewer images than a micro-batch holds: only they count.
  REQUIRE(predict_walk_memory(network, shape, 1, 4, 2).frontier_bytes <= per_image);
  const std::vector<std::int64_t> wrong{4, 10, 10};
  REQUIRE_THROWS_AS(predict_walk_memory(network, wrong, 40, 4, 1), DataError);
}

TEST_CASE("a layer inside a loop is visited with the inputs of all its uses") {
  torch::jit::Module net("__torch__.Loop");
  net.register_module("conv", conv_module("LoopConv", at::randn({3, 3, 3, 3}), "[1, 1]"));
  net.define(R"(
def forward(self, x):
  for i in range(3):
    x = self.conv.forward(x)
  return x.mean([2, 3])
)");
  std::ostringstream stream;
  net.save(stream);
  Network network = Network::from_bytes(stream.str(), "net.pt");
  std::vector<at::Tensor> images = {at::ones({2, 3, 4, 4}), at::zeros({1, 3, 4, 4})};
  int calls = 0;
  const at::Tensor twice = network.tensor("conv.weight") * 2;
  const auto results = walk(network, images, {.threads = 2}, alone, [&](const WalkStep& step) {
    ++calls;
    REQUIRE(step.layer == std::optional<std::size_t>(0));
    REQUIRE(step.inputs.size() == 6);  // three uses on each of two micro-batches
    REQUIRE(same(step.inputs[0], images[0]));
    REQUIRE(same(step.inputs[3], images[1]));
    network.set_tensor("conv.weight", twice);
  });
  REQUIRE(calls == 1);
  Network changed = Network::from_bytes(stream.str(), "net.pt");
  changed.set_tensor("conv.weight", twice);
  for (std::size_t i = 0; i < images.size(); ++i)
    REQUIRE(same(results[i].toTensor(), changed.forward(images[i])));
}

TEST_CASE("a weight of two steps is visited once, with the inputs of both, of teacher and student") {
  torch::jit::Module net("__torch__.Twice");
  net.register_module("conv", conv_module("TwiceConv", at::randn({3, 3, 3, 3}), "[1, 1]"));
  net.define(R"(
def forward(self, x):
  x = self.conv.forward(x)
  return self.conv.forward(x).mean([2, 3])
)");
  std::ostringstream stream;
  net.save(stream);
  Network network = Network::from_bytes(stream.str(), "net.pt");
  const Network teacher = Network::from_bytes(stream.str(), "net.pt");
  const at::Tensor twice = network.tensor("conv.weight") * 2;
  network.set_tensor("conv.weight", twice);
  const std::vector<at::Tensor> images = {at::randn({2, 3, 4, 4}), at::randn({1, 3, 4, 4})};
  int calls = 0;
  (void)walk(network, images, {.threads = 2, .teacher = &teacher}, alone, [&](const WalkStep& step) {
    ++calls;
    REQUIRE(step.inputs.size() == 4);
    REQUIRE(step.teacher_inputs.size() == 4);
    for (std::size_t i = 0; i < 2; ++i) {
      REQUIRE(same(step.inputs[2 * i], images[i]));
      REQUIRE(same(step.teacher_inputs[2 * i], images[i]));
      const auto after_one = [&](const Network& of) {
        return at::conv2d(images[i], of.tensor("conv.weight"), {}, at::IntArrayRef{1, 1},
                          at::IntArrayRef{1, 1});
      };
      REQUIRE(same(step.inputs[2 * i + 1], after_one(network)));
      REQUIRE(same(step.teacher_inputs[2 * i + 1], after_one(teacher)));
    }
  });
  REQUIRE(calls == 1);
}

TEST_CASE("the teacher shares the student's values until the student changes") {
  Network network = small_network();
  const Network teacher = small_network();
  REQUIRE(network.equals(teacher));
  const auto images = small_images(3);
  const std::int64_t conv2 = step_of(network, "conv2"), fc = step_of(network, "fc");
  std::vector<std::int64_t> seen;
  const auto logits =
      walk(network, images, {.threads = 2, .teacher = &teacher}, alone, [&](const WalkStep& step) {
        seen.push_back(step.step);
        REQUIRE(step.teacher_inputs.size() == images.size());
        for (std::size_t i = 0; i < images.size(); ++i) {
          REQUIRE(same(step.teacher_inputs[i], input_of(teacher, images[i], step.step)));
          const bool shared = step.teacher_inputs[i].const_data_ptr() == step.inputs[i].const_data_ptr();
          REQUIRE(shared == (step.step <= conv2));
        }
        if (step.step == conv2) network.set_tensor("conv2.weight", network.tensor("conv2.weight") * 2);
      });
  REQUIRE(seen.back() == fc);
  REQUIRE_FALSE(network.equals(teacher));
  for (std::size_t i = 0; i < images.size(); ++i)
    REQUIRE(same(logits[i].toTensor(), network.forward(images[i])));
}

TEST_CASE("a teacher on its own way shows what its convolutions made, and what other layers read") {
  Network network = small_network();
  const Network teacher = small_network();
  network.set_tensor("conv1.weight", network.tensor("conv1.weight") * 2);
  const auto images = small_images(3);
  int convolutions = 0, others = 0;
  const auto logits =
      walk(network, images, {.threads = 2, .teacher = &teacher}, alone, [&](const WalkStep& step) {
        if (teacher.is_plain_convolution(step.step)) {
          ++convolutions;
          REQUIRE(step.teacher_inputs.empty());
          REQUIRE(step.teacher_outputs.size() == images.size());
          for (std::size_t i = 0; i < images.size(); ++i)
            REQUIRE(same(step.teacher_outputs[i], output_of(teacher, images[i], step.step)));
          return;
        }
        ++others;
        REQUIRE(step.teacher_outputs.empty());
        REQUIRE(step.teacher_inputs.size() == images.size());
        for (std::size_t i = 0; i < images.size(); ++i) {
          REQUIRE(step.teacher_inputs[i].const_data_ptr() != step.inputs[i].const_data_ptr());
          REQUIRE(same(step.teacher_inputs[i], input_of(teacher, images[i], step.step)));
        }
      });
  REQUIRE(convolutions == 2);
  REQUIRE(others == 2);
  for (std::size_t i = 0; i < images.size(); ++i)
    REQUIRE(same(logits[i].toTensor(), network.forward(images[i])));
}
