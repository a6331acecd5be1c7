// Clusters four blocks, writes them into an archive, reads it back; and asks for a network that is none.
#include <bitfall/archive.hpp>
#include <bitfall/errors.hpp>
#include <bitfall/kmeans.hpp>
#include <bitfall/network.hpp>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace {

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::cerr << "not as expected: " << what << std::endl;
  std::exit(1);
}

bitfall::QuantizedLayer cluster(const std::vector<float>& weight, std::int64_t rows, std::int64_t d) {
  bitfall::KmeansParameters parameters;
  parameters.k = 2;
  bitfall::KmeansResult result =
      bitfall::kmeans(weight, d, bitfall::Whitening::identity(d), parameters, bitfall::Communicator::self());
  bitfall::QuantizedLayer layer;
  layer.name = "fc";
  layer.weight_name = "fc.weight";
  layer.kind = bitfall::LayerKind::linear;
  layer.weight_shape = {rows, static_cast<std::int64_t>(weight.size()) / rows};
  layer.d = d;
  layer.k = result.k;
  layer.metric = bitfall::Metric::euclidean;
  layer.codebook = std::move(result.codebook);
  layer.codes = std::move(result.codes);
  layer.iterations = std::move(result.iterations);
  return layer;
}

bool refuses_garbage() {
  try {
    static_cast<void>(bitfall::Network::from_bytes("not TorchScript", "garbage.pt"));
  } catch (const bitfall::DataError& error) {
    return std::string(error.what()).find("garbage.pt") != std::string::npos;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  expect(argc == 2, "one argument, the archive to write");
  // Two kinds of blocks, and values that fp16 holds exactly: the codes lose nothing.
  const std::vector<float> weight = {1, 2, -3, 0.5F, -3, 0.5F, 1, 2};
  bitfall::Archive archive;
  archive.layers.push_back(cluster(weight, 2, 2));
  archive.plan_json = archive.provenance_json = "{}";
  bitfall::write_archive(archive, argv[1]);
  const bitfall::Archive read = bitfall::read_archive(argv[1]);
  expect(bitfall::decode(read.layers.at(0)) == weight, "the decoded weight");
  expect(read.content_sha256 == bitfall::content_hash(archive), "the content hash");
  expect(refuses_garbage(), "a DataError that names garbage.pt");
  std::cout << "all as expected" << std::endl;
}
