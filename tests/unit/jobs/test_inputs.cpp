#include <algorithm>
#include <set>

#include "catch.hpp"
#include "inputs.hpp"

using namespace bitfall;

TEST_CASE("micro-batches cover all samples in order and do not depend on ranks") {
  const std::vector<std::int64_t> samples = {3, 5, 8, 13, 21, 34, 55};
  const auto batches = cut_micro_batches(samples, 3);
  REQUIRE(batches.size() == 3);
  CHECK(batches[2] == std::vector<std::int64_t>{55});
  std::vector<std::int64_t> joined;
  for (const auto& batch : batches) joined.insert(joined.end(), batch.begin(), batch.end());
  CHECK(joined == samples);
  CHECK(local_micro_batches(batches, Communicator::self()) == batches);
  CHECK(cut_micro_batches({}, 4).empty());
}

TEST_CASE("chosen samples are distinct, ascending, reproducible and depend on the seed") {
  const auto chosen = choose_samples(1000, 100, 1);
  CHECK(chosen.size() == 100);
  CHECK(std::is_sorted(chosen.begin(), chosen.end()));
  CHECK(std::set<std::int64_t>(chosen.begin(), chosen.end()).size() == 100);
  CHECK(choose_samples(1000, 100, 1) == chosen);
  CHECK(choose_samples(1000, 100, 2) != chosen);
  CHECK(chosen.back() < 1000);
}

TEST_CASE("all samples are taken when fewer exist than asked for") {
  CHECK((choose_samples(5, 0, 7) == std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  CHECK((choose_samples(5, 9, 7) == std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  CHECK(choose_samples(0, 9, 7).empty());
}

TEST_CASE("a batch becomes a tensor without changing its values") {
  Batch batch;
  batch.count = 2, batch.channels = 1, batch.height = 1, batch.width = 3;
  batch.pixels = {1, 2, 3, 4, 5, 6};
  const at::Tensor tensor = to_tensor(std::move(batch));
  REQUIRE(tensor.sizes() == at::IntArrayRef({2, 1, 1, 3}));
  CHECK(tensor[1][0][0][2].item<float>() == 6);
}
