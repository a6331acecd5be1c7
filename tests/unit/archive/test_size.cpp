// An archive is hardly larger than the information in it.
#include <cstdint>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/plan.hpp"
#include "catch.hpp"
#include "sample_archive.hpp"
#include "tests/unit/quantization/resnet_shapes.hpp"

using namespace bitfall;

namespace {

struct Written {
  ArchiveBytes bytes;
  std::int64_t information_bytes = 0;  ///< the rest in fp16
  std::int64_t layers = 0;
};

/// Random codes and values (the worst case: they don't compress) in the shapes of `network`, the rest in
/// fp16, batch norms folded to two values a channel.
Written write_network(const testing::NetworkShapes& network, std::int64_t iterations) {
  const Plan plan = make_plan(network.layers, network.tensors, PlanParameters{});
  Archive archive;
  archive.plan_json = to_json(plan);
  std::uint64_t seed = 0;
  for (const LayerPlan& layer : plan.layers) {
    const Layer& shape = layer.layer;
    ++seed;
    if (layer.quantized)
      archive.layers.push_back(
          random_layer(shape.name, shape.weight_shape, layer.d, layer.k, seed, iterations));
    else
      archive.kept.push_back(random_tensor(shape.weight_name, shape.weight_shape, seed));
  }
  for (const TensorInfo& tensor : network.tensors) {
    if (tensor.role == TensorRole::bias || tensor.role == TensorRole::batch_norm_scale ||
        tensor.role == TensorRole::batch_norm_shift)
      archive.kept.push_back(random_tensor(tensor.name, tensor.shape, ++seed));
  }
  for (KeptTensor& tensor : archive.kept) REQUIRE(compact_to_half(tensor));
  const TemporaryFolder folder;
  return {write_archive(archive, folder / "a.h5"), plan.sizes.information_bytes_fp16(),
          plan.quantized_layers()};
}

}  // namespace

TEST_CASE("ResNet-50 small with k 256 is at most 2 % larger than its information") {
  const Written written = write_network(testing::bottleneck_resnet(), 100);
  REQUIRE(written.layers == 53);
  const std::int64_t data_bytes = written.bytes.codes + written.bytes.codebooks + written.bytes.kept;
  INFO("information " << written.information_bytes << ", data " << data_bytes << ", overhead "
                      << written.bytes.overhead);
  // Deflate saves next to nothing of random data, so this is also what must be there.
  CHECK(double(data_bytes) > 0.98 * double(written.information_bytes));
  CHECK(double(written.bytes.file - written.bytes.model) < 1.02 * double(written.information_bytes));
}

TEST_CASE("tables and HDF5 take less than 8 kB of a ResNet-20 archive") {
  const Written written = write_network(testing::resnet20(), 15);
  REQUIRE(written.layers == 19);
  CHECK(written.bytes.overhead > 0);
  CHECK(written.bytes.overhead < 8000);
}
