// Second moments and channel statistics as a device forms them, beside the host's kernels.
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/triu_indices.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "../calibration/gram_oracle.hpp"
#include "../calibration/small_network.hpp"
#include "bitfall/calibration.hpp"
#include "calibration/device_moments.hpp"
#include "calibration/device_rows.hpp"
#include "catch.hpp"
#include "model/device_copy.hpp"
#include "network_device.hpp"

using namespace bitfall;
using namespace bitfall::test;

namespace {

at::Tensor place(const at::Tensor& tensor) {
  return tensor.to(open_torch_device(network_device()));
}

/// Float sums of at most 256 products, then double: a few units in the last place of the diagonal.
void require_moments(const Layer& layer, const at::Tensor& input, std::int64_t d) {
  const at::Tensor oracle = gram_oracle(layer, {input}, d);
  const at::Tensor found = device_moments(layer, place(input), d, network_arrays()).cpu();
  REQUIRE(found.scalar_type() == at::kDouble);
  REQUIRE(same(found, device_moments(layer, place(input), d, network_arrays()).cpu()));
  const at::Tensor indices = at::triu_indices(d, d);
  const at::Tensor expected = oracle.index({at::indexing::Slice(), indices[0], indices[1]});
  const at::Tensor diagonal = oracle.diagonal(0, 1, 2).clamp_min(1e-30).sqrt();
  const at::Tensor bound =
      (diagonal.unsqueeze(2) * diagonal.unsqueeze(1)).index({at::indexing::Slice(), indices[0], indices[1]});
  INFO("d = " << d << ", " << layer.columns() << " columns");
  REQUIRE(((found - expected).abs() / bound).max().item<double>() < 2e-6);
}

}  // namespace

TEST_CASE("moments of convolutions of every kind") {
  at::manual_seed(1);
  for (const std::int64_t stride : {1, 2}) {
    for (const std::int64_t padding : {0, 1}) {
      const Layer layer = convolution({6, 4, 3, 3}, {stride, stride}, {padding, 0}, {1, 1}, 1);
      require_moments(layer, at::randn({3, 4, 9, 7}), 9);
      require_moments(layer, at::randn({1, 4, 12, 12}) * 1e4, 18);
    }
    require_moments(convolution({8, 12, 1, 1}, {stride, stride}, {0, 0}, {1, 1}, 1), at::randn({2, 12, 7, 9}),
                    4);
  }
  require_moments(convolution({6, 4, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 2), at::randn({3, 8, 6, 6}), 9);
  require_moments(convolution({6, 4, 3, 3}, {1, 2}, {2, 2}, {2, 2}, 1), at::randn({2, 4, 9, 9}), 12);
}

TEST_CASE("moments of linear layers, in more rows than a tile holds") {
  at::manual_seed(2);
  require_moments(linear(5, 16), at::randn({3, 16}), 4);
  require_moments(linear(5, 8), at::randn({9001, 8}) + 3, 4);
  require_moments(linear(5, 8), at::randn({2, 7, 8}), 8);
}

TEST_CASE("channel sums in double") {
  const at::Tensor input = at::randn({4, 3, 5, 7}) * 10 + 100;
  const at::Tensor centers = at::tensor(at::ArrayRef<double>{99.5, 0.0, -3.0});
  for (const int power : {1, 2}) {
    const at::Tensor found = device_channel_sums(place(input), place(centers), power).cpu();
    const at::Tensor expected =
        (input.to(at::kDouble) - centers.view({1, 3, 1, 1})).pow(power).sum({0, 2, 3});
    REQUIRE(((found - expected).abs() / expected.abs()).max().item<double>() < 1e-13);
  }
}

TEST_CASE("unfolded rows, taken one by one") {
  at::manual_seed(3);
  const auto require_rows = [](const Layer& layer, const at::Tensor& input, std::int64_t images) {
    const at::Tensor all = unfolded(layer, input).to(at::kFloat);
    const std::int64_t positions = all.size(0) / images / layer.groups;
    std::vector<RowAddress> rows;
    std::vector<std::int64_t> places;
    for (std::int64_t place = all.size(0) - 1; place >= 0; place -= 3) {
      rows.push_back({place / positions / layer.groups, place / positions % layer.groups, place % positions});
      places.push_back(place);
    }
    const at::Tensor there = place(input);
    const at::Tensor found = at::empty({std::ssize(rows), layer.columns()}, there.options());
    network_arrays().unfold(row_window(layer, there), rows, found.mutable_data_ptr<float>());
    REQUIRE(same(found.cpu(), all.index_select(0, at::tensor(at::ArrayRef<std::int64_t>(places)))));
  };
  require_rows(convolution({6, 4, 3, 3}, {1, 2}, {2, 1}, {2, 1}, 1), at::randn({2, 4, 9, 8}), 2);
  require_rows(convolution({6, 4, 3, 3}, {2, 1}, {0, 1}, {1, 1}, 2), at::randn({3, 8, 7, 5}), 3);
  require_rows(convolution({6, 4, 1, 1}, {2, 2}, {0, 0}, {1, 1}, 1), at::randn({3, 4, 7, 5}), 3);
  require_rows(linear(5, 8), at::randn({4, 8}), 4);
  require_rows(linear(5, 8), at::randn({4, 3, 8}), 4);
  const at::Tensor outputs = at::randn({2, 3, 4, 5});
  const std::vector<RowAddress> rows = {{1, 0, 19}, {0, 0, 7}};
  const at::Tensor found = outputs_at(place(outputs), rows).cpu();
  for (std::int64_t c = 0; c < 3; ++c) {
    REQUIRE(found[c][0].item<float>() == outputs[1][c][3][4].item<float>());
    REQUIRE(found[c][1].item<float>() == outputs[0][c][1][2].item<float>());
  }
}

TEST_CASE("sums of products are the host's, rounded once each") {
  at::manual_seed(4);
  const FixedPoint scale = FixedPoint::for_sum(1000, 1000);
  DeviceSums square(scale, &network_arrays()), product(scale, &network_arrays());
  REQUIRE(square.values().empty());
  at::Tensor squares = at::zeros({5, 5}, at::kDouble), products = at::zeros({3, 5}, at::kDouble);
  for (int i = 0; i < 3; ++i) {
    // Small integers: any order of float sums is exact, and so is every comparison.
    const at::Tensor x = at::randint(-9, 10, {7 + i, 5}).to(at::kFloat);
    const at::Tensor y = at::randint(-9, 10, {3, 7 + i}).to(at::kFloat);
    square.add_square(place(x));
    product.add_product(place(y), place(x));
    squares += x.t().mm(x);
    products += y.mm(x);
  }
  const std::vector<std::int64_t> lower = square.values(), all = product.values();
  REQUIRE(lower.size() == 15);
  std::size_t next = 0;
  for (int a = 0; a < 5; ++a)
    for (int b = 0; b <= a; ++b) REQUIRE(lower[next++] == scale.to_integer(squares[a][b].item<double>()));
  for (int i = 0; i < 15; ++i)
    REQUIRE(all.at(static_cast<std::size_t>(i)) == scale.to_integer(products[i / 5][i % 5].item<double>()));
}

TEST_CASE("cross moments with shortcuts are the host's") {
  at::manual_seed(5);
  const Layer layer = convolution({6, 4, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1);
  const at::Tensor weight = at::randn({6, 36});
  std::vector<at::Tensor> inputs, teacher, left, right;
  for (int i = 0; i < 3; ++i) {
    inputs.push_back(at::randn({2, 4, 9, 9}));
    teacher.push_back(inputs.back() + 0.1 * at::randn({2, 4, 9, 9}));
    left.push_back(at::randn({2, 6, 5, 5}));
    right.push_back(left.back() + 0.1 * at::randn({2, 6, 5, 5}));
  }
  const auto placed = [](std::vector<at::Tensor> tensors) {
    for (at::Tensor& tensor : tensors) tensor = place(tensor);
    return tensors;
  };
  const auto check_equal = [](const std::vector<double>& host, const std::vector<double>& device) {
    check_close(device, at::tensor(at::ArrayRef<double>(host)), tolerance);
  };
  const at::Tensor bias = at::randn({6});
  const auto there = placed(inputs), teacher_there = placed(teacher), left_there = placed(left),
             right_there = placed(right);
  const std::vector<float> gain{1, 2, 0, 0.5F, -1, 1};
  for (const std::int64_t rows : {0, 60}) {
    const FullGramParameters parameters{.rows = rows, .seed = 7};
    FullGramParameters on_device = parameters;
    on_device.arrays = &network_arrays();
    const std::span<const float> w(weight.const_data_ptr<float>(), 216);
    check_equal(
        accumulate_cross_moments(layer,
                                 {.weight = w, .teacher_inputs = teacher, .shortcuts = {right, left, gain}},
                                 inputs, parameters, Communicator::self()),
        accumulate_cross_moments(
            layer,
            {.weight = w, .teacher_inputs = teacher_there, .shortcuts = {right_there, left_there, gain}},
            there, on_device, Communicator::self()));
    check_equal(accumulate_cross_moments(layer, {.teacher_outputs = right, .bias = bias}, inputs, parameters,
                                         Communicator::self()),
                accumulate_cross_moments(layer, {.teacher_outputs = right_there, .bias = place(bias)}, there,
                                         on_device, Communicator::self()));
  }
}

TEST_CASE("a walk on a device finds the host's statistics") {
  const auto statistics = [](const std::string& device) {
    Network network = small_network();
    if (!device.empty()) network.use_device(device);
    const ArrayWork* arrays = device.empty() ? nullptr : &network_arrays();
    std::vector<double> found;
    static_cast<void>(
        walk(network, small_images(3), {.threads = 2}, Communicator::self(), [&](const WalkStep& step) {
          if (const BatchNormStep* norm = network.batch_norm_of_step(step.step)) {
            reestimate_batch_norm(network, *norm, step, 2, Communicator::self());
          } else if (const auto index = network.layer_of_step(step.step)) {
            const Layer& layer = network.layers().at(*index);
            const Gram gram =
                accumulate_gram(layer, step.inputs, {.d = layer.columns() % 9 == 0 ? 9 : 4, .arrays = arrays},
                                Communicator::self());
            found.insert(found.end(), gram.pooled.begin(), gram.pooled.end());
            const FullGram full =
                accumulate_full_gram(layer, step.inputs, {.arrays = arrays}, Communicator::self());
            found.insert(found.end(), full.lower.begin(), full.lower.end());
            found.push_back(double(gram.samples));
          }
        }));
    return found;
  };
  const std::vector<double> host = statistics(""), device = statistics(network_device());
  REQUIRE(host.size() == device.size());
  double largest = 0;
  for (const double value : host) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < host.size(); ++i) REQUIRE(std::abs(host[i] - device[i]) <= tolerance * largest);
  REQUIRE(device == statistics(network_device()));
}
