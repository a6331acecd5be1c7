#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/threads.hpp"
#include "quantization/backend.hpp"

namespace bitfall {
namespace {

/// Groups whose new codes are looked at while they are still in the first-level cache.
constexpr std::int64_t chunk_groups = 16;

/// Sums are integers, so a point that changes its cluster is subtracted here and added there without an error
/// that grows: an iteration touches only the points that move.
class CpuClusterWork final : public ClusterWork {
 public:
  CpuClusterWork(const KmeansInput& input, const TiledBlocks& points, const FixedPoint& coordinate_scale,
                 std::int64_t k, int threads)
      : input_(input),
        points_(points),
        coordinate_scale_(coordinate_scale),
        workers_(static_cast<std::size_t>(useful_threads(points.count * k * input.d, threads))),
        codes_(static_cast<std::size_t>(points.count), -1),
        errors_(static_cast<std::size_t>(points.count), 0.0f) {
    for (Worker& worker : workers_) worker.sums.assign(static_cast<std::size_t>(k * (input.d + 1)), 0);
  }

  void assign(const CodewordTable& table, const FixedPoint& error_scale, std::span<std::int64_t> totals,
              const Communicator& communicator) override {
    const auto threads = static_cast<int>(workers_.size());
    parallel_for(threads, threads, [&](std::int64_t thread) {
      assign_share(table, error_scale,
                   Communicator::share(points_.groups(), static_cast<int>(thread), threads),
                   workers_[static_cast<std::size_t>(thread)]);
    });
    std::fill(totals.begin(), totals.end(), 0);
    for (const Worker& worker : workers_) {
      for (std::size_t i = 0; i < worker.sums.size(); ++i) totals[i] += worker.sums[i];
      totals[totals.size() - 2] += worker.objective;
      totals.back() += worker.moved;
    }
    communicator.sum(totals);
  }

  std::span<const std::int32_t> codes() override { return codes_; }
  std::span<const float> errors() override { return errors_; }

 private:
  struct Worker {
    std::vector<std::int64_t> sums;  ///< k rows of d coordinates and a count, over this worker's points
    std::int64_t objective = 0;
    std::int64_t moved = 0;
  };

  void assign_share(const CodewordTable& table, const FixedPoint& error_scale, Communicator::Range groups,
                    Worker& worker) {
    constexpr auto capacity = static_cast<std::size_t>(chunk_groups * group_points);
    std::vector<std::int32_t> codes(capacity);
    std::vector<float> errors(capacity);
    worker.objective = 0;
    worker.moved = 0;
    for (std::int64_t group = groups.first; group < groups.last; group += chunk_groups) {
      assign_groups(points_.group(group), std::min(chunk_groups, groups.last - group), table, codes.data(),
                    errors.data());
      const std::int64_t first = group * group_points;
      const std::int64_t last =
          std::min({first + chunk_groups * group_points, groups.last * group_points, points_.count});
      for (std::int64_t point = first; point < last; ++point) {
        const auto i = static_cast<std::size_t>(point - first);
        worker.objective += error_scale.to_integer(static_cast<double>(errors[i]));
        if (codes[i] != codes_[static_cast<std::size_t>(point)]) move(point, codes[i], worker);
      }
      if (last > first) std::copy_n(errors.begin(), last - first, errors_.begin() + first);
    }
  }

  void move(std::int64_t point, std::int32_t to, Worker& worker) {
    const auto d = static_cast<std::size_t>(input_.d);
    const float* block = input_.blocks.data() + static_cast<std::size_t>(points_.first + point) * d;
    std::int32_t& code = codes_[static_cast<std::size_t>(point)];
    std::int64_t* gains = worker.sums.data() + static_cast<std::size_t>(to) * (d + 1);
    // The first E-step has no cluster to subtract from.
    std::int64_t* loses = code < 0 ? nullptr : worker.sums.data() + static_cast<std::size_t>(code) * (d + 1);
    for (std::size_t j = 0; j < d; ++j) {
      const std::int64_t value = coordinate_scale_.to_integer(static_cast<double>(block[j]));
      gains[j] += value;
      if (loses) loses[j] -= value;
    }
    gains[d] += 1;
    if (loses) loses[d] -= 1;
    code = to;
    worker.moved += 1;
  }

  const KmeansInput& input_;
  const TiledBlocks& points_;
  FixedPoint coordinate_scale_;
  std::vector<Worker> workers_;
  std::vector<std::int32_t> codes_;  ///< -1 before the first E-step
  std::vector<float> errors_;
};

class CpuPositionWork final : public PositionWork {
 public:
  CpuPositionWork(std::span<const TiledBlocks> positions, std::int64_t k, int threads)
      : positions_(positions),
        tables_(static_cast<std::size_t>(threads),
                CodewordTable(k, positions.empty() ? 1 : positions.front().d)) {}

  void assign(const std::function<void(std::int64_t, CodewordTable&)>& set_table,
              std::span<std::int32_t> codes, std::span<float> errors) override {
    parallel_for_workers(static_cast<std::int64_t>(positions_.size()), static_cast<int>(tables_.size()),
                         [&](std::int64_t i, int worker) {
                           CodewordTable& table = tables_[static_cast<std::size_t>(worker)];
                           set_table(i, table);
                           const TiledBlocks& points = positions_[static_cast<std::size_t>(i)];
                           const auto padded = static_cast<std::size_t>(points.groups() * group_points);
                           std::vector<std::int32_t> own_codes(padded);
                           std::vector<float> own_errors(padded);
                           assign_groups(points.tiles.data(), points.groups(), table, own_codes.data(),
                                         own_errors.data());
                           std::copy_n(own_codes.begin(), points.count, codes.begin() + i * points.count);
                           std::copy_n(own_errors.begin(), points.count, errors.begin() + i * points.count);
                         });
  }

 private:
  std::span<const TiledBlocks> positions_;
  std::vector<CodewordTable> tables_;  ///< one for each thread
};

class CpuBackend final : public Backend {
 public:
  [[nodiscard]] std::string name() const override { return "cpu"; }
  [[nodiscard]] std::unique_ptr<ClusterWork> place(const KmeansInput& input, const TiledBlocks& points,
                                                   const FixedPoint& coordinate_scale, std::int64_t k,
                                                   int threads) const override {
    return std::make_unique<CpuClusterWork>(input, points, coordinate_scale, k, threads);
  }
  [[nodiscard]] std::unique_ptr<PositionWork> place_positions(std::span<const TiledBlocks> positions,
                                                              std::int64_t k, int threads) const override {
    return std::make_unique<CpuPositionWork>(positions, k, threads);
  }
};

}  // namespace

const Backend& cpu_backend() {
  static const CpuBackend backend;
  return backend;
}

}  // namespace bitfall
