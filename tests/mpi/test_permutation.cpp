// The same order of channels on any number of ranks.
#include <random>

#include "../unit/quantization/permutation_oracle.hpp"
#include "catch.hpp"
#include "quantization/permutation.hpp"

using namespace bitfall;

TEST_CASE("permutations on all ranks are those of one rank") {
  std::mt19937 random(7);
  for (const std::size_t streams : {1, 2, 5, 9}) {  // also fewer than ranks
    std::vector<std::vector<float>> weights;
    PermutationProblem problem;
    for (std::size_t s = 0; s < streams; ++s) {
      problem.channels.push_back(8 + 4 * std::int64_t(s));
      weights.push_back(reference::make_weight(6, problem.channels.back() * 9, random));
    }
    for (std::size_t s = 0; s < streams; ++s)
      problem.layers.push_back({"layer", weights[s], 6, 18, 4, {{s, 0, 9}}});
    const PermutationParameters parameters{.proposals = 50, .seed = streams, .threads = 1 + int(streams % 2)};
    const FoundPermutation alone = find_permutation(problem, parameters, Communicator::self());
    const FoundPermutation shared = find_permutation(problem, parameters, Communicator::world());
    REQUIRE(shared.orders == alone.orders);
    REQUIRE(!alone.orders[0].empty());
    REQUIRE(shared.layers.size() == alone.layers.size());
    for (std::size_t l = 0; l < alone.layers.size(); ++l) {
      CHECK(shared.layers[l].name == alone.layers[l].name);
      CHECK(shared.layers[l].before == alone.layers[l].before);
      CHECK(shared.layers[l].after == alone.layers[l].after);
    }
  }
}
