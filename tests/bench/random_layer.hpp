#pragma once
/// Points and a codebook for benches, as kernels take them.
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "bitfall/metric.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"

namespace bitfall::bench {

/// Weights of trained layers have heavier tails than a normal distribution: Student's t with 6 degrees of
/// freedom.
inline std::vector<float> student_values(std::int64_t count) {
  std::mt19937 random(1);
  std::student_t_distribution<float> student(6);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = 0.05f * student(random);
  return values;
}

/// Such blocks, and some of them as codebook.
struct RandomLayer {
  std::vector<float> values;
  Whitening whitening;
  KmeansInput input;
  TiledBlocks points;
  std::vector<float> codebook;
  CodewordTable table;

  RandomLayer(std::int64_t n, std::int64_t d, std::int64_t k)
      : values(student_values(n * d)),
        whitening(Whitening::identity(d)),
        input{values, d, whitening, measure_blocks(values, d)},
        points(tile_blocks(input, 0, n, 1)),
        table(k, d) {
    for (std::int64_t c = 0; c < k; ++c) {
      const std::span<const float> block = input.block(c * (n / k));
      codebook.insert(codebook.end(), block.begin(), block.end());
    }
    std::vector<float> whitened(codebook.size());
    input.whiten(codebook, whitened);
    table.set(whitened);
  }
  RandomLayer(const RandomLayer&) = delete;
  RandomLayer& operator=(const RandomLayer&) = delete;
};

}  // namespace bitfall::bench
