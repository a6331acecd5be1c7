// Times of the work on LibTorch's arrays, in microseconds, one line for each line of standard input:
//
//   moments IMAGES CHANNELS SIDE KERNEL STRIDE D
//
// block_moments of a convolution's input, padded by KERNEL / 2;
//
//   square IMAGES CHANNELS SIDE KERNEL COUNT
//
// COUNT unfolded rows, and their X^T X added to integers;
//
//   training N D K [N D K ...]
//
// two numbers: the gradients of these codebooks, and their decoding. array_table.py puts them beside torch.
#include <cstdio>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/cuda_array_work.hpp"
#include "stopwatch.hpp"

using namespace bitfall;

namespace {

std::mt19937& random_numbers() {
  static std::mt19937 random(1);
  return random;
}

std::vector<float> random_floats(std::int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random_numbers());
  return values;
}

RowWindow convolution(std::int64_t channels, std::int64_t side, std::int64_t kernel, std::int64_t stride) {
  RowWindow window;
  window.channels = channels;
  window.value_stride = 1;
  window.line_stride = side;
  window.channel_stride = side * side;
  window.group_stride = window.image_stride = channels * side * side;
  for (int axis = 0; axis < 2; ++axis) {
    window.input[axis] = side;
    window.kernel[axis] = kernel;
    window.stride[axis] = stride;
    window.padding[axis] = kernel / 2;
    window.output[axis] = (side + 2 * (kernel / 2) - kernel) / stride + 1;
  }
  return window;
}

void moments(std::istream& line, const cuda::Device& device, const ArrayWork& arrays) {
  std::int64_t images = 0, channels = 0, side = 0, kernel = 0, stride = 0, d = 0;
  line >> images >> channels >> side >> kernel >> stride >> d;
  RowWindow window = convolution(channels, side, kernel, stride);
  const cuda::Buffer<float> input(device, random_floats(images * window.image_stride));
  window.values = input.data();
  cuda::Buffer<double> triangles(device, window.columns() / d * (d * (d + 1) / 2));
  std::printf("%.2f\n",
              microseconds(device, [&] { arrays.block_moments(window, images, 1, d, triangles.data()); }));
}

void square(std::istream& line, const cuda::Device& device, const ArrayWork& arrays) {
  std::int64_t images = 0, channels = 0, side = 0, kernel = 0, count = 0;
  line >> images >> channels >> side >> kernel >> count;
  RowWindow window = convolution(channels, side, kernel, 1);
  const std::int64_t columns = window.columns();
  const cuda::Buffer<float> input(device, random_floats(images * window.image_stride));
  window.values = input.data();
  std::vector<RowAddress> addresses;
  for (std::int64_t i = 0; i < count; ++i)
    addresses.push_back({std::int64_t(random_numbers()() % static_cast<unsigned>(images)), 0,
                         std::int64_t(random_numbers()() % static_cast<unsigned>(window.positions()))});
  cuda::Buffer<float> rows(device, count * columns), product(device, columns * columns);
  cuda::Buffer<std::int64_t> lower(device, columns * (columns + 1) / 2);
  lower.set_zero();
  std::printf("%.2f\n", microseconds(device, [&] {
                arrays.unfold(window, addresses, rows.data());
                arrays.add_square(rows.data(), count, columns, 0x1p20, product.data(), lower.data());
              }));
}

/// The arrays of one codebook and its dense weight.
struct Codebook {
  Codebook(const cuda::Device& device, std::int64_t n, std::int64_t d, std::int64_t k, std::int64_t first)
      : gradient(device, random_floats(n * d)),
        weight(device, n * d),
        codes(device, n),
        order(device, n),
        starts(device, k + 1) {
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(n)), blocks;
    for (auto& code : chosen) code = static_cast<std::int32_t>(random_numbers()() % static_cast<unsigned>(k));
    std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(k));
    for (std::int32_t i = 0; i < n; ++i)
      members[static_cast<std::size_t>(chosen[static_cast<std::size_t>(i)])].push_back(i);
    std::vector<std::int64_t> begins{0};
    for (const auto& own : members) {
      blocks.insert(blocks.end(), own.begin(), own.end());
      begins.push_back(std::ssize(blocks));
    }
    codes.upload(chosen);
    order.upload(blocks);
    starts.upload(begins);
    part = {.first = first,
            .length = k * d,
            .weights = n * d,
            .d = d,
            .codes = codes.data(),
            .order = order.data(),
            .starts = starts.data(),
            .gradient = gradient.data(),
            .weight = weight.data()};
  }
  cuda::Buffer<float> gradient, weight;
  cuda::Buffer<std::int32_t> codes, order;
  cuda::Buffer<std::int64_t> starts;
  TrainedPart part;
};

void training(std::istream& line, const cuda::Device& device, const ArrayWork& arrays) {
  std::vector<std::unique_ptr<Codebook>> codebooks;
  std::vector<TrainedPart> parts;
  std::int64_t first = 0;
  for (std::int64_t n = 0, d = 0, k = 0; line >> n >> d >> k; first += k * d) {
    codebooks.push_back(std::make_unique<Codebook>(device, n, d, k, first));
    parts.push_back(codebooks.back()->part);
  }
  cuda::Buffer<double> gradient(device, first);
  const cuda::Buffer<float> values(device, random_floats(first));
  const double gathered = microseconds(device, [&] { arrays.gather_gradients(parts, gradient.data()); });
  const double written = microseconds(device, [&] { arrays.write_weights(parts, values.data()); });
  std::printf("%.2f\t%.2f\n", gathered, written);
}

}  // namespace

int main() {
  const cuda::Device device(0, 0, cuda::StreamChoice::of_tensors);
  const cuda::CudaArrayWork arrays(0, 0);
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::string what;
    line >> what;
    if (what == "moments")
      moments(line, device, arrays);
    else if (what == "square")
      square(line, device, arrays);
    else if (what == "training")
      training(line, device, arrays);
    else
      return 64;
  }
  return 0;
}
