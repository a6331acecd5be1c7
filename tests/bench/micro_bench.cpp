// Google Benchmark: the kernels one by one. build/release/tests/micro_bench --benchmark_filter=estep
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "bitfall/images.hpp"
#include "calibration/gram_kernels.hpp"
#include "quantization/estep_filter.hpp"
#include "quantization/point_order.hpp"
#include "random_layer.hpp"

using namespace bitfall;

namespace {

constexpr std::int64_t points = 16384;

/// d and k.
void estep_shapes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t k : {64, 256, 2048}) bench->Args({4, k});
  bench->Args({8, 256});
  for (const std::int64_t k : {64, 128, 256}) bench->Args({9, k});
  bench->Args({18, 256});
}

/// Counts n k d multiply-adds as items.
void estep_plain(benchmark::State& state) {
  const bench::RandomLayer layer(points, state.range(0), state.range(1));
  std::vector<std::int32_t> codes(points);
  std::vector<float> errors(points);
  for (auto _ : state) {
    assign_groups(layer.points.tiles.data(), layer.points.groups(), layer.table, codes.data(), errors.data());
    benchmark::DoNotOptimize(codes.data());
  }
  state.SetItemsProcessed(state.iterations() * points * state.range(0) * state.range(1));
}
BENCHMARK(estep_plain)->Apply(estep_shapes);

/// From the codes that it leaves.
void estep_filter(benchmark::State& state) {
  const bench::RandomLayer layer(points, state.range(0), state.range(1));
  const OrderedPoints ordered(layer.points, 1);
  FilterTable filter(state.range(1), state.range(0));
  filter.set(layer.table);
  FilterScratch scratch;
  std::vector<std::int32_t> codes(points, 0);
  std::vector<float> errors(points);
  for (auto _ : state) {
    assign_groups_filtered(ordered, 0, ordered.points.groups(), layer.table, filter, scratch, codes.data(),
                           errors.data());
    benchmark::DoNotOptimize(codes.data());
  }
  state.SetItemsProcessed(state.iterations() * points * state.range(0) * state.range(1));
}
BENCHMARK(estep_filter)->Apply(estep_shapes);

void filter_table(benchmark::State& state) {
  const bench::RandomLayer layer(points, state.range(0), state.range(1));
  FilterTable filter(state.range(1), state.range(0));
  for (auto _ : state) {
    filter.set(layer.table);
    benchmark::DoNotOptimize(filter.words.data());
  }
}
BENCHMARK(filter_table)->Args({4, 256})->Args({4, 2048})->Args({9, 256});

void norm_order(benchmark::State& state) {
  const bench::RandomLayer layer(points, state.range(0), 16);
  for (auto _ : state) benchmark::DoNotOptimize(order_by_norm(layer.points).order.data());
  state.SetItemsProcessed(state.iterations() * points);
}
BENCHMARK(norm_order)->Arg(4)->Arg(9);

/// The inner loop of Gram matrices: d rows of 3,136 positions.
void gram_products(benchmark::State& state) {
  constexpr std::int64_t positions = 3136;
  const std::int64_t d = state.range(0);
  const std::vector<float> values(static_cast<std::size_t>(d * positions), 0.5f);
  std::vector<const float*> rows;
  for (std::int64_t i = 0; i < d; ++i) rows.push_back(values.data() + i * positions);
  ProductSums sums(d);
  for (auto _ : state) sums.add(rows, positions);
  state.SetItemsProcessed(state.iterations() * positions * pair_count(d));
}
BENCHMARK(gram_products)->Arg(4)->Arg(8)->Arg(9)->Arg(18);

void resize(benchmark::State& state) {
  Image image{500, 375, std::vector<std::uint8_t>(500 * 375 * 3)};
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<std::uint8_t>(i * 37 / 5);
  for (auto _ : state) benchmark::DoNotOptimize(resize_bilinear(image, 341, 256).pixels.data());
  state.SetItemsProcessed(state.iterations() * 341 * 256);
}
BENCHMARK(resize);

}  // namespace

BENCHMARK_MAIN();
