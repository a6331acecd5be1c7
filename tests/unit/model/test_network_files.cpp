#include <ATen/ops/full.h>

#include <cmath>
#include <limits>

#include "bitfall/errors.hpp"
#include "bitfall/network.hpp"
#include "catch.hpp"
#include "script_models.hpp"

namespace bitfall::test {
namespace {

/// The message of the DataError that loading gives; it must be one line that names the file.
std::string load_error(const std::string& bytes) {
  try {
    (void)Network::from_bytes(bytes, "some/net.pt");
  } catch (const DataError& error) {
    const std::string text = error.what();
    CHECK(text.find("some/net.pt") != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
    return text;
  }
  return "no error";
}

std::string load_error(const torch::jit::Module& module) {
  return load_error(bytes_of(module));
}

bool contains(const std::string& text, const std::string& part) {
  INFO(text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

/// Comparisons whose operands Catch does not print: they are whole files.
bool same(const std::string& a, const std::string& b) {
  return a == b;
}
bool has(const std::string& bytes, const std::string& part) {
  return bytes.find(part) != std::string::npos;
}

torch::jit::Module with_forward(const std::string& body) {
  torch::jit::Module net = empty_module();
  net.register_buffer("state", values({3}, 1));
  net.register_attribute("count", c10::IntType::get(), 0);
  net.define("def forward(self, x):\n" + body);
  return net;
}

}  // namespace

TEST_CASE("a file without weights restores the network", "[network][files]") {
  const Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  const std::string description = network.save_without_weights();
  Network restored = Network::from_bytes(description, "description");
  REQUIRE(restored.tensors().size() == network.tensors().size());
  for (std::size_t i = 0; i < network.tensors().size(); ++i) {
    const TensorInfo& info = network.tensors()[i];
    CHECK(restored.tensors()[i].name == info.name);
    CHECK(restored.tensors()[i].dtype == info.dtype);
    CHECK(restored.tensors()[i].shape == info.shape);
    CHECK(largest_difference(restored.tensor(info.name).to(at::kFloat), at::full(info.shape, 0.0F)) == 0);
    restored.set_tensor(info.name, network.tensor(info.name));
  }
  const at::Tensor input = values({3, 3, 8, 8}, 6);
  CHECK(same_bits(restored.forward(input.clone()), network.forward(input.clone())));
  CHECK(same_bits(ordinary_forward(restored.save(), input), network.forward(input.clone())));
}

TEST_CASE("a file without weights holds none and depends on nothing else", "[network][files]") {
  torch::jit::Module wide = empty_module();
  add_weights(wide, "fc", {1000, 2000}, 1, false);
  wide.define("def forward(self, x):\n  return torch.linear(x, self.fc.weight)\n");
  Network network = Network::from_bytes(bytes_of(wide), "net.pt");
  const std::string description = network.save_without_weights();
  CHECK(description.size() < 8000);
  CHECK(network.save().size() > 8'000'000);
  CHECK_FALSE(has(description, "debug_pkl"));
  CHECK(same(network.save_without_weights(), description));
  network.set_tensor("fc.weight", values({1000, 2000}, 2));
  CHECK(same(network.save_without_weights(), description));
  CHECK(same(Network::from_bytes(network.save(), "again").save_without_weights(), description));
  CHECK(same(Network::from_bytes(description, "again").save_without_weights(), description));
}

TEST_CASE("saving is repeatable and keeps every value", "[network][files]") {
  const Network network = Network::from_bytes(bytes_of(residual_network()), "net.pt");
  const std::string saved = network.save();
  CHECK(same(saved, network.save()));
  const Network again = Network::from_bytes(saved, "saved.pt");
  for (const TensorInfo& info : network.tensors()) {
    CHECK(same_bits(again.tensor(info.name), network.tensor(info.name)));
  }
}

TEST_CASE("bytes that are not TorchScript", "[network][files]") {
  contains(load_error(std::string()), "does not start like a zip file");
  contains(load_error(std::string("hello")), "does not start like a zip file");
  contains(load_error(std::string(100'000, '\0')), "does not start like a zip file");
  contains(load_error(std::string("PK\x03\x04") + std::string(500, 'x')), "without its directory");
  const std::string empty_zip = std::string("PK\x05\x06") + std::string(18, '\0');
  contains(load_error(empty_zip), "does not start like a zip file");
}

TEST_CASE("every truncation is refused", "[network][files]") {
  const std::string bytes = bytes_of(residual_network());
  for (std::size_t size = 0; size < bytes.size(); size += bytes.size() / 41 + 1) {
    CHECK(load_error(bytes.substr(0, size)) != "no error");
  }
  CHECK(load_error(bytes.substr(0, bytes.size() - 1)) != "no error");
}

TEST_CASE("a flipped bit in a weight is found", "[network][files]") {
  std::string bytes = bytes_of(residual_network());
  const at::Tensor weight = values({5, 8}, 3);  // fc.weight
  const std::string data(static_cast<const char*>(weight.const_data_ptr()), weight.nbytes());
  const std::size_t place = bytes.find(data);
  REQUIRE(place != std::string::npos);
  bytes[place + 17] = static_cast<char>(bytes[place + 17] ^ 1);
  contains(load_error(bytes), "is damaged (size or checksum differ)");
}

TEST_CASE("damage anywhere ends in an error or leaves the network as it is", "[network][files]") {
  const std::string bytes = bytes_of(residual_network());
  const Network sound = Network::from_bytes(bytes, "net.pt");
  const at::Tensor input = values({1, 3, 8, 8}, 1);
  const at::Tensor expected = sound.forward(input.clone());
  int refused = 0;
  int harmless = 0;  // alignment padding, names of debug records, header fields that nobody reads
  for (std::size_t place = 0; place < bytes.size(); place += 13) {
    std::string damaged = bytes;
    damaged[place] = static_cast<char>(damaged[place] ^ 0x55);
    if (load_error(damaged) != "no error") {
      ++refused;
    } else {
      ++harmless;
      INFO("byte " << place);
      CHECK(same_bits(Network::from_bytes(damaged, "net.pt").forward(input.clone()), expected));
    }
  }
  CHECK(refused > harmless);
}

TEST_CASE("a NaN or an infinity is named", "[network][files]") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    torch::jit::Module net = residual_network();
    net.attr("conv2").toModule().attr("weight").toTensor().view(-1)[17].fill_(bad);
    contains(load_error(net), "the parameter 'conv2.weight' has a NaN or infinite value");
    torch::jit::Module other = residual_network();
    other.attr("bn1").toModule().attr("running_var").toTensor()[3].fill_(bad);
    contains(load_error(other), "the buffer 'bn1.running_var' has a NaN or infinite value");
  }
}

TEST_CASE("modules that can't be walked are refused when they are loaded", "[network][files]") {
  torch::jit::Module no_forward = empty_module();
  no_forward.define("def other(self, x):\n  return x\n");
  contains(load_error(no_forward), "it has no forward method");
  torch::jit::Module no_input = empty_module();
  no_input.define("def forward(self):\n  return 1\n");
  contains(load_error(no_input), "its forward takes no input");
  contains(load_error(with_forward("  self.state.add_(1)\n  return x + self.state\n")),
           "changes its own 'state'");
  contains(load_error(with_forward("  self.count = self.count + 1\n  return x * self.count\n")),
           "changes its own");
  contains(load_error(with_forward("  if x.size(0) > 1:\n    self.state.mul_(2)\n  return x + self.state\n")),
           "changes its own 'state'");
  contains(load_error(with_forward(
               "  return torch.batch_norm(x, None, None, self.state, self.state, True, 0.1, 0.1, False)\n")),
           "changes its own 'state'");
}

TEST_CASE("an input that is no tensor is refused when images come", "[network][files]") {
  torch::jit::Module list = empty_module();
  list.define("def forward(self, x: List[int]):\n  return torch.zeros([x[0], 2])\n");
  const Network network = Network::from_bytes(bytes_of(list), "list.pt");
  CHECK_THROWS_AS(network.start(values({1, 3}, 1)), DataError);
}

}  // namespace bitfall::test
