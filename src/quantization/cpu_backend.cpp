#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/threads.hpp"
#include "quantization/assigner.hpp"
#include "quantization/backend.hpp"

namespace bitfall {
namespace {

/// Groups whose new codes are looked at while they are still in the first-level cache.
constexpr std::int64_t chunk_groups = 16;

/// Sum of scale.to_integer(x) over values whose scale was made for a sum of `addends` such values.
std::int64_t integer_sum(std::span<const float> values, const FixedPoint& scale, std::int64_t addends) {
  if (addends < std::int64_t{1} << 12) {
    std::int64_t sum = 0;
    for (const float value : values) sum += scale.to_integer(static_cast<double>(value));
    return sum;
  }
  // |x 2^s| <= 2^62 / addends <= 2^50, so x 2^s + 1.5 * 2^52 has round-half-even(x 2^s) in its low bits. A
  // loop that compilers turn into vectors, unlike one with llrint.
  const double factor = std::ldexp(1.0, scale.exponent());
  constexpr double offset = 0x1.8p52;
  std::uint64_t sum = 0;
  for (const float value : values)
    sum += std::bit_cast<std::uint64_t>(static_cast<double>(value) * factor + offset);
  // Every addend carried the offset's bits; the sum modulo 2^64 loses nothing.
  return static_cast<std::int64_t>(sum - values.size() * std::bit_cast<std::uint64_t>(offset));
}

/// Sums are integers, so a point that changes its cluster is subtracted here and added there without an error
/// that grows: an iteration touches only the points that move.
class CpuClusterWork final : public ClusterWork {
 public:
  CpuClusterWork(const KmeansInput& input, const TiledBlocks& points, const FixedPoint& coordinate_scale,
                 std::int64_t k, int threads, bool accelerate)
      : input_(input),
        coordinate_scale_(coordinate_scale),
        workers_(static_cast<std::size_t>(useful_threads(points.count * k * input.d, threads))),
        assigner_(points, k, static_cast<int>(workers_.size()), accelerate),
        codes_(static_cast<std::size_t>(points.groups() * group_points), 0),
        errors_(codes_.size(), 0.0f) {
    for (Worker& worker : workers_) worker.sums.assign(static_cast<std::size_t>(k * (input.d + 1)), 0);
  }

  void assign(const CodewordTable& table, const FixedPoint& error_scale, std::span<std::int64_t> totals,
              const Communicator& communicator) override {
    const auto threads = static_cast<int>(workers_.size());
    assigner_.prepare(table);
    parallel_for(threads, threads, [&](std::int64_t thread) {
      const int index = static_cast<int>(thread);
      assign_share(table, error_scale, Communicator::share(assigner_.points().groups(), index, threads),
                   index);
    });
    is_first_ = false;
    std::fill(totals.begin(), totals.end(), 0);
    for (const Worker& worker : workers_) {
      for (std::size_t i = 0; i < worker.sums.size(); ++i) totals[i] += worker.sums[i];
      totals[totals.size() - 2] += worker.objective;
      totals.back() += worker.moved;
    }
    communicator.sum(totals);
  }

  std::span<const std::int32_t> codes() override { return in_given_order(codes_, given_codes_); }
  std::span<const float> errors() override { return in_given_order(errors_, given_errors_); }

 private:
  struct Move {
    const float* block;
    std::int32_t from, to;  ///< clusters; no first one in the first E-step
  };
  struct Worker {
    std::vector<Move> moves;
    std::vector<std::int64_t> sums;  ///< k rows of d coordinates and a count, over this worker's points
    std::int64_t objective = 0;
    std::int64_t moved = 0;
  };

  void assign_share(const CodewordTable& table, const FixedPoint& error_scale, Communicator::Range groups,
                    int index) {
    Worker& worker = workers_[static_cast<std::size_t>(index)];
    std::vector<std::int32_t> before(static_cast<std::size_t>(chunk_groups * group_points));
    worker.objective = 0;
    worker.moved = 0;
    for (std::int64_t group = groups.first; group < groups.last; group += chunk_groups) {
      const std::int64_t count = std::min(chunk_groups, groups.last - group);
      const std::int64_t first = group * group_points;
      std::int32_t* codes = codes_.data() + first;
      float* errors = errors_.data() + first;
      std::copy_n(codes, count * group_points, before.begin());
      assigner_.assign(group, count, index, table, codes, errors);
      const std::int64_t points = std::min(count * group_points, assigner_.points().count - first);
      worker.objective +=
          integer_sum({errors, static_cast<std::size_t>(points)}, error_scale, input_.count());
      if (is_first_) std::fill(before.begin(), before.end(), -1);
      move_points(first, {before.data(), static_cast<std::size_t>(points)}, codes, worker);
      std::fill(codes + points, codes + count * group_points, 0);  // padding stays in a cluster that exists
    }
  }

  /// Moves the points from `first` on whose codes are no longer those `before`. Their blocks lie anywhere in
  /// memory where the assigner reorders: all are asked for before the first is needed (waiting for them took
  /// a tenth of an iteration).
  void move_points(std::int64_t first, std::span<const std::int32_t> before, const std::int32_t* codes,
                   Worker& worker) const {
    worker.moves.clear();
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (codes[i] == before[i]) continue;
      const std::int64_t place =
          assigner_.points().first + assigner_.given_place(first + static_cast<std::int64_t>(i));
      const float* block = input_.blocks.data() + place * input_.d;
      __builtin_prefetch(block);
      __builtin_prefetch(block + input_.d - 1);
      worker.moves.push_back({block, before[i], codes[i]});
    }
    for (const Move& each : worker.moves) move(each, worker);
    worker.moved += static_cast<std::int64_t>(worker.moves.size());
  }

  void move(const Move& each, Worker& worker) const {
    const auto d = static_cast<std::size_t>(input_.d);
    const auto [block, from, to] = each;
    std::int64_t* gains = worker.sums.data() + static_cast<std::size_t>(to) * (d + 1);
    // The first E-step has no cluster to subtract from.
    std::int64_t* loses = from < 0 ? nullptr : worker.sums.data() + static_cast<std::size_t>(from) * (d + 1);
    for (std::size_t j = 0; j < d; ++j) {
      const std::int64_t value = coordinate_scale_.to_integer(static_cast<double>(block[j]));
      gains[j] += value;
      if (loses) loses[j] -= value;
    }
    gains[d] += 1;
    if (loses) loses[d] -= 1;
  }

  template <class T>
  [[nodiscard]] std::span<const T> in_given_order(const std::vector<T>& values,
                                                  std::vector<T>& ordered) const {
    const auto count = static_cast<std::size_t>(assigner_.points().count);
    if (!assigner_.reorders()) return std::span<const T>(values).first(count);
    ordered.resize(count);
    for (std::size_t i = 0; i < count; ++i)
      ordered[static_cast<std::size_t>(assigner_.given_place(static_cast<std::int64_t>(i)))] = values[i];
    return ordered;
  }

  const KmeansInput& input_;
  FixedPoint coordinate_scale_;
  std::vector<Worker> workers_;
  Assigner assigner_;
  bool is_first_ = true;             ///< no E-step has been done
  std::vector<std::int32_t> codes_;  ///< of whole groups, in the order of the assigner
  std::vector<float> errors_;
  std::vector<std::int32_t>
      given_codes_;  ///< the same in the order of the points given, when that is another
  std::vector<float> given_errors_;
};

/// Positions share the order of the first one's codewords: making one takes as long as the rest of a table.
class CpuPositionWork final : public PositionWork {
 public:
  CpuPositionWork(std::span<const TiledBlocks> positions, std::int64_t k, int threads, bool accelerate)
      : given_(positions),
        d_(positions.empty() ? 1 : positions.front().d),
        filters_(accelerate && FilterTable::pays(k, d_)),
        workers_(static_cast<std::size_t>(threads), Worker(k, d_)) {
    if (!filters_) return;
    ordered_.resize(positions.size());
    parallel_for(static_cast<std::int64_t>(positions.size()), threads, [&](std::int64_t i) {
      const auto index = static_cast<std::size_t>(i);
      ordered_[index] = std::make_unique<OrderedPoints>(positions[index], 1);
    });
  }

  void assign(const PositionCodebooks& codebooks, std::span<std::int32_t> codes,
              std::span<float> errors) override {
    for (Worker& worker : workers_) worker.columns.clear();
    parallel_for_workers(
        static_cast<std::int64_t>(given_.size()), static_cast<int>(workers_.size()),
        [&](std::int64_t i, int index) {
          Worker& worker = workers_[static_cast<std::size_t>(index)];
          const std::int64_t count = given_[static_cast<std::size_t>(i)].count;
          const auto first = static_cast<std::size_t>(i * count);
          const auto size = static_cast<std::size_t>(count);
          if (filters_ && has_codes_) {
            set_filter(i, codebooks, worker);
            filter_position(i, worker, codes.subspan(first, size), errors.subspan(first, size));
          } else {
            codebooks.set(i, worker.table);
            assign_position(i, worker, codes.subspan(first, size), errors.subspan(first, size));
          }
        });
    has_codes_ = true;
  }

 private:
  struct Worker {
    Worker(std::int64_t k, std::int64_t d) : table(k, d), filter(k, d) {}
    CodewordTable table;
    FilterTable filter;
    FilterScratch scratch;
    AlignedVector<float>
        columns;  ///< the codebook in the filter's order, which is that of an earlier position
    std::vector<std::int32_t> codes;
    std::vector<float> errors;
  };

  void assign_position(std::int64_t i, Worker& worker, std::span<std::int32_t> codes,
                       std::span<float> errors) const {
    const TiledBlocks& points = given_[static_cast<std::size_t>(i)];
    worker.codes.resize(static_cast<std::size_t>(points.groups() * group_points));
    worker.errors.resize(worker.codes.size());
    assign_groups(points.tiles.data(), points.groups(), worker.table, worker.codes.data(),
                  worker.errors.data());
    std::copy_n(worker.codes.begin(), codes.size(), codes.begin());
    std::copy_n(worker.errors.begin(), errors.size(), errors.begin());
  }

  static void set_filter(std::int64_t i, const PositionCodebooks& codebooks, Worker& worker) {
    if (!worker.columns.empty()) {
      worker.filter.set_whitened(worker.columns, codebooks.whitening(i), codebooks.penalties(i),
                                 worker.table);
      return;
    }
    codebooks.set(i, worker.table);
    worker.filter.set(worker.table);
    worker.columns = worker.filter.columns_of(codebooks.codebook);
  }

  void filter_position(std::int64_t i, Worker& worker, std::span<std::int32_t> codes,
                       std::span<float> errors) const {
    const OrderedPoints& ordered = *ordered_[static_cast<std::size_t>(i)];
    worker.codes.assign(static_cast<std::size_t>(ordered.points.groups() * group_points), 0);
    worker.errors.resize(worker.codes.size());
    for (std::size_t p = 0; p < codes.size(); ++p)
      worker.codes[p] = codes[static_cast<std::size_t>(ordered.order[p])];
    assign_groups_filtered(ordered, 0, ordered.points.groups(), worker.table, worker.filter, worker.scratch,
                           worker.codes.data(), worker.errors.data());
    for (std::size_t p = 0; p < codes.size(); ++p) {
      codes[static_cast<std::size_t>(ordered.order[p])] = worker.codes[p];
      errors[static_cast<std::size_t>(ordered.order[p])] = worker.errors[p];
    }
  }

  std::span<const TiledBlocks> given_;
  std::int64_t d_;
  bool filters_;
  bool has_codes_ = false;  ///< an E-step has been done
  std::vector<std::unique_ptr<OrderedPoints>> ordered_;
  std::vector<Worker> workers_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(bool accelerate) : accelerate_(accelerate) {}
  [[nodiscard]] std::string name() const override { return "cpu"; }
  [[nodiscard]] std::unique_ptr<ClusterWork> place(const KmeansInput& input, const TiledBlocks& points,
                                                   const FixedPoint& coordinate_scale, std::int64_t k,
                                                   int threads) const override {
    return std::make_unique<CpuClusterWork>(input, points, coordinate_scale, k, threads, accelerate_);
  }
  [[nodiscard]] std::unique_ptr<PositionWork> place_positions(std::span<const TiledBlocks> positions,
                                                              std::int64_t k, int threads) const override {
    return std::make_unique<CpuPositionWork>(positions, k, threads, accelerate_);
  }

 private:
  bool accelerate_;
};

}  // namespace

const Backend& cpu_backend() {
  static const CpuBackend backend(true);
  return backend;
}

const Backend& plain_cpu_backend() {
  static const CpuBackend backend(false);
  return backend;
}

}  // namespace bitfall
