// Networks that people use, when a Python with torchvision (BITFALL_PYTHON) or the shared data are there.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "catch.hpp"
#include "model/fold.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// A folder of its own that goes away with the object.
struct TemporaryFolder {
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bitfall-model-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path path;
};

/// torchvision's networks with random weights and statistics, scripted and traced, and their state dicts'
/// names. Prints nothing and writes nothing when torchvision can't be imported.
constexpr const char* script = R"(
import sys
try:
    import torch, torchvision
except ImportError:
    sys.exit(0)
torch.manual_seed(0)
torch.set_num_threads(1)
for name in ('resnet18', 'resnet50', 'mobilenet_v2'):
    net = getattr(torchvision.models, name)(weights=None).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.jit.script(net).save(f'{sys.argv[1]}/{name}.pt')
    if name == 'resnet18':
        torch.jit.trace(net, torch.zeros(1, 3, 64, 64)).save(f'{sys.argv[1]}/traced_{name}.pt')
    with open(f'{sys.argv[1]}/{name}.names', 'w') as file:
        file.write(''.join(key + '\n' for key in net.state_dict()))
)";

/// False, with the reason printed, when it can't be done here.
bool make_networks(const std::filesystem::path& folder) {
  const char* python = std::getenv("BITFALL_PYTHON");
  if (python == nullptr || *python == '\0') {
    std::cout << "skipped: BITFALL_PYTHON is not set, so there is no torchvision\n";
    return false;
  }
  std::ofstream(folder / "make.py") << script;
  const std::string command = "'" + std::string(python) + "' '" + (folder / "make.py").string() + "' '" +
                              folder.string() + "' > '" + (folder / "log").string() + "' 2>&1";
  const int status = std::system(command.c_str());
  INFO(read_file(folder / "log"));
  REQUIRE(status == 0);
  if (std::filesystem::exists(folder / "mobilenet_v2.pt")) return true;
  std::cout << "skipped: " << python << " can't import torchvision\n";
  return false;
}

/// Same bits as the ordinary forward; folding keeps the logits; a description restores the network.
void check_network(const std::string& bytes, const at::Tensor& input) {
  Network network = Network::from_bytes(bytes, "net.pt");
  const at::Tensor expected = ordinary_forward(bytes, input);
  CHECK(same_bits(network.forward(input.clone()), expected));
  Network restored = Network::from_bytes(network.save_without_weights(), "description");
  for (const TensorInfo& info : network.tensors()) restored.set_tensor(info.name, network.tensor(info.name));
  CHECK(same_bits(restored.forward(input.clone()), expected));
  fold_batch_norms(network);
  const double scale = largest_difference(expected, expected.mul(0));
  CHECK(largest_difference(network.forward(input.clone()), expected) < 1e-5 * scale);
}

std::int64_t quantizable(const Network& network) {
  std::int64_t count = 0;
  for (const Layer& layer : network.layers()) count += layer.obstacle.empty() ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("torchvision's networks", "[real]") {
  const TemporaryFolder folder;
  if (!make_networks(folder.path)) return;
  const at::Tensor input = values({2, 3, 64, 64}, 1);
  struct Expectation {
    const char* name;
    std::int64_t layers;
  };
  for (const auto& [name, layers] : {Expectation{"resnet18", 21}, Expectation{"resnet50", 54},
                                     Expectation{"mobilenet_v2", 53}, Expectation{"traced_resnet18", 21}}) {
    INFO(name);
    const std::string bytes = read_file(folder.path / (std::string(name) + ".pt"));
    check_network(bytes, input);
    const Network network = Network::from_bytes(bytes, name);
    CHECK(quantizable(network) == layers);
    CHECK(network.layers().size() == static_cast<std::size_t>(layers));
    CHECK(network.save_without_weights().size() < 220'000);
    std::string names;
    for (const TensorInfo& info : network.tensors()) names += info.name + "\n";
    const auto listed = folder.path / (std::string(name) + ".names");
    if (std::filesystem::exists(listed)) CHECK(names == read_file(listed));
  }
}

TEST_CASE("ResNet-20 with option-A shortcuts", "[real]") {
  const char* shared = std::getenv("BITFALL_SHARED");
  const std::filesystem::path path =
      std::filesystem::path(shared == nullptr ? "" : shared) / "data/cifar10/resnet20.pt";
  if (shared == nullptr || !std::filesystem::exists(path)) {
    std::cout << "skipped: no data/cifar10/resnet20.pt under BITFALL_SHARED\n";
    return;
  }
  const std::string bytes = read_file(path);
  check_network(bytes, values({3, 3, 32, 32}, 2));
  const Network network = Network::from_bytes(bytes, "resnet20.pt");
  CHECK(quantizable(network) == 20);
  CHECK(network.layers().front().name == "conv1");
  CHECK((network.layers().back().weight_shape == std::vector<std::int64_t>{10, 64}));
}

}  // namespace bitfall::test
