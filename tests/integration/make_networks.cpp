// Writes the small TorchScript networks that the integration tests use, good ones and bad ones: make_networks
// FOLDER
#include <torch/script.h>

#include <cstdio>
#include <limits>
#include <string>

namespace {

using torch::jit::Module;

Module convolution(std::int64_t inputs, std::int64_t outputs, std::int64_t kernel, std::int64_t stride) {
  Module module("Convolution");
  const double scale = std::sqrt(2.0 / double(inputs * kernel * kernel));
  module.register_parameter("weight", torch::randn({outputs, inputs, kernel, kernel}) * scale, false);
  const std::string pair = "[" + std::to_string(stride) + ", " + std::to_string(stride) + "]";
  const std::string padding = "[" + std::to_string(kernel / 2) + ", " + std::to_string(kernel / 2) + "]";
  module.define("def forward(self, x):\n  return torch.conv2d(x, self.weight, None, " + pair + ", " +
                padding + ", [1, 1], 1)\n");
  return module;
}

Module batch_norm(std::int64_t channels) {
  Module module("BatchNorm");
  module.register_parameter("weight", torch::rand({channels}) + 0.5, false);
  module.register_parameter("bias", torch::randn({channels}) * 0.1, false);
  module.register_buffer("running_mean", torch::randn({channels}) * 0.1);
  module.register_buffer("running_var", torch::rand({channels}) + 0.5);
  module.define(
      "def forward(self, x):\n  return torch.batch_norm(x, self.weight, self.bias, self.running_mean, "
      "self.running_var, False, 0.1, 1e-5, True)\n");
  return module;
}

Module linear(std::int64_t inputs, std::int64_t outputs) {
  Module module("Linear");
  module.register_parameter("weight", torch::randn({outputs, inputs}) * 0.1, false);
  module.register_parameter("bias", torch::randn({outputs}) * 0.1, false);
  module.define("def forward(self, x):\n  return torch.linear(x, self.weight, self.bias)\n");
  return module;
}

/// 3 x 32 x 32 -> 10 logits: a strided 3x3 layer, a residual block with a 1x1 shortcut, a classifier.
Module residual_network() {
  Module net("ResidualNetwork");
  net.register_module("conv1", convolution(3, 16, 3, 1));
  net.register_module("bn1", batch_norm(16));
  net.register_module("conv2", convolution(16, 32, 3, 2));
  net.register_module("bn2", batch_norm(32));
  net.register_module("conv3", convolution(32, 32, 3, 1));
  net.register_module("bn3", batch_norm(32));
  net.register_module("shortcut", convolution(16, 32, 1, 2));
  net.register_module("fc", linear(32, 10));
  net.define(R"(
def forward(self, x):
  x = torch.relu_(self.bn1.forward(self.conv1.forward(x)))
  y = torch.relu_(self.bn2.forward(self.conv2.forward(x)))
  y = torch.relu_(self.bn3.forward(self.conv3.forward(y)) + self.shortcut.forward(x))
  return self.fc.forward(torch.flatten(torch.adaptive_avg_pool2d(y, [1, 1]), 1))
)");
  return net;
}

/// Nothing to quantize: pooling only.
Module without_layers() {
  Module net("WithoutLayers");
  net.define("def forward(self, x):\n  return torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)\n");
  return net;
}

Module with_nan() {
  Module net = residual_network();
  net.attr("conv3").toModule().attr("weight").toTensor().view(-1)[7] =
      std::numeric_limits<float>::quiet_NaN();
  return net;
}

/// The first layer's outputs are beyond what the next one's squares can be summed of.
Module that_overflows() {
  Module net = residual_network();
  net.attr("conv1").toModule().attr("weight").toTensor().mul_(1e25);
  return net;
}

/// conv2 and shortcut see nothing but zeros.
Module with_dead_inputs() {
  Module net = residual_network();
  net.attr("conv1").toModule().attr("weight").toTensor().zero_();
  net.attr("bn1").toModule().attr("running_mean").toTensor().zero_();
  net.attr("bn1").toModule().attr("bias").toTensor().fill_(-1);
  return net;
}

/// conv3 has three different 3x3 kernels, far fewer than codewords.
Module with_few_kernels() {
  Module net = residual_network();
  const at::Tensor kernels = torch::randn({3, 9}) * 0.1;
  net.attr("conv3")
      .toModule()
      .attr("weight")
      .toTensor()
      .view({32 * 32, 9})
      .copy_(kernels.index_select(0, torch::randint(3, {32 * 32}, torch::kLong)));
  return net;
}

Module weight_only(const at::Tensor& weight) {
  Module module("Weight");
  module.register_parameter("weight", weight * 0.1, false);
  module.define("def forward(self, x):\n  return x\n");
  return module;
}

/// 3 x 32 x 32 -> a dictionary with 10 logits: kernels of one, two and three dimensions, 5 x 5, grouped,
/// depthwise and transposed; a loop that uses one weight on three sizes; a branch; weights shared by two
/// modules.
Module network_of_all_kinds() {
  Module net("AllKinds");
  net.register_module("stem", convolution(3, 16, 3, 2));
  net.register_module("wide", convolution(16, 32, 5, 1));
  net.register_module("grouped", weight_only(torch::randn({32, 16, 3, 3})));
  net.register_module("depthwise", weight_only(torch::randn({32, 1, 3, 3})));
  net.register_module("up", weight_only(torch::randn({32, 32, 2, 2})));
  net.register_module("line", weight_only(torch::randn({32, 32, 3})));
  net.register_module("volume", weight_only(torch::randn({16, 8, 3, 3, 3})));
  net.register_module("head", weight_only(torch::randn({32, 32, 3, 3})));
  net.register_module("rare", weight_only(torch::randn({32, 32, 1, 1})));
  net.register_module("twin", weight_only(torch::randn({32, 32})));
  Module tied = weight_only(torch::zeros({32, 32}));
  tied.setattr("weight", net.attr("twin").toModule().attr("weight"));
  net.register_module("tied", tied);
  net.register_module("fc", linear(80, 10));
  net.define(R"(
def forward(self, x):
  x = torch.relu(self.wide.forward(torch.relu_(self.stem.forward(x))))
  x = torch.relu(torch.conv2d(x, self.grouped.weight, None, [1, 1], [1, 1], [1, 1], 2))
  x = x + torch.conv2d(x, self.depthwise.weight, None, [1, 1], [2, 2], [2, 2], 32)
  y = torch.relu(torch.conv_transpose2d(x, self.up.weight, None, [2, 2]))
  z = torch.relu(torch.conv1d(x.flatten(2), self.line.weight, None, [2], [1]))
  v = torch.relu(torch.conv3d(x.view(x.size(0), 8, 4, x.size(2), x.size(3)), self.volume.weight, None, [2, 1, 1], [1, 1, 1]))
  parts = [torch.linear(z.mean([2]), self.twin.weight), v.mean([2, 3, 4])]
  total = torch.zeros([x.size(0), 32])
  for level in [y, x, torch.max_pool2d(x, [2, 2], [2, 2])]:
    t = torch.relu(torch.conv2d(level, self.head.weight, None, [1, 1], [1, 1]))
    if t.size(2) > 16:
      t = torch.conv2d(t, self.rare.weight)
    total = total + t.mean([2, 3])
  parts.append(torch.linear(total, self.tied.weight))
  return {"logits": self.fc.forward(torch.cat(parts, 1)), "features": x}
)");
  return net;
}

Module transform() {
  Module module("Transform");
  module.define(R"(
def forward(self, images: List[Tensor], targets: Optional[List[Dict[str, Tensor]]]=None):
  return torch.stack(images) * 2 - 1, targets
)");
  return module;
}

Module backbone() {
  Module module("Backbone");
  module.register_module("conv1", convolution(3, 16, 3, 2));
  module.register_module("conv2", convolution(16, 32, 3, 2));
  module.define(R"(
def forward(self, x):
  return {"0": torch.relu(self.conv2.forward(torch.relu(self.conv1.forward(x))))}
)");
  return module;
}

/// Images of one size -> torchvision's results, without masks: a box around each cell of 4 x 4 pixels, two
/// classes. In training it draws cells as torchvision's detectors draw proposals; one image at a time then.
Module detector() {
  Module net("Detector");
  net.register_attribute("training", c10::BoolType::get(), false);
  net.register_module("transform", transform());
  net.register_module("backbone", backbone());
  net.register_module("tower", convolution(32, 32, 3, 1));
  net.register_module("head", convolution(32, 6, 1, 1));
  net.define(R"(
def forward(self, images: List[Tensor], targets: Optional[List[Dict[str, Tensor]]] = None):
  batch, given = self.transform.forward(images, targets)
  out = self.head.forward(torch.relu(self.tower.forward(self.backbone.forward(batch)["0"])))
  cell = torch.arange(out.size(2) * out.size(3))
  x, y = (cell % out.size(3)) * 4 + 2.0, torch.floor(cell / out.size(3)) * 4 + 2.0
  losses: Dict[str, Tensor] = {}
  found: List[Dict[str, Tensor]] = []
  for i in range(len(images)):
    score, label = torch.sigmoid(out[i, 0:2]).flatten(1).max(0)
    across, down = 8 + 2 * out[i, 2].flatten(), 8 + 2 * out[i, 3].flatten()
    boxes = torch.stack([x - across, y - down, x + across, y + down], 1)
    if self.training:
      assert given is not None
      drawn = torch.randperm(cell.size(0))[0:48]
      wanted = torch.zeros_like(out[i, 0:2]).flatten(1)
      distance = torch.zeros([1])
      for t in range(given[i]["boxes"].size(0)):
        box = given[i]["boxes"][t]
        inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
        wanted[int(given[i]["labels"][t]) - 1] += inside
        distance = distance + (boxes - box).abs().mean(1).mul(inside).mean()
      wanted = wanted.clamp(0.0, 1.0)
      losses["score"] = torch.binary_cross_entropy_with_logits(out[i, 0:2].flatten(1)[:, drawn], wanted[:, drawn])
      losses["box"] = distance.sum() * 0.05
    else:
      chosen = torch.topk(score, 6)[1]
      found.append({"boxes": boxes[chosen], "scores": score[chosen], "labels": label[chosen] + 1})
  return losses, found
)");
  return net;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_networks FOLDER\n");
    return 64;
  }
  torch::manual_seed(1);
  const torch::NoGradGuard no_grad;
  const std::string folder = argv[1];
  residual_network().save(folder + "/residual.pt");
  without_layers().save(folder + "/without_layers.pt");
  with_nan().save(folder + "/nan.pt");
  that_overflows().save(folder + "/overflow.pt");
  with_dead_inputs().save(folder + "/dead.pt");
  with_few_kernels().save(folder + "/few_kernels.pt");
  network_of_all_kinds().save(folder + "/all_kinds.pt");
  detector().save(folder + "/detector.pt");
}
