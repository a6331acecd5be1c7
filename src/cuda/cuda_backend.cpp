#include "cuda/cuda_backend.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"
#include "cuda/kernels/assign.hpp"
#include "cuda/kernels/cluster_sums.hpp"
#include "parallel/threads.hpp"

namespace bitfall::cuda {
namespace {

std::int64_t device_rows(std::int64_t k) {
  return (k + table_group - 1) / table_group * table_group;
}

/// The codewords as the kernels read them (kernels/assign.hpp); `out` is zero beyond what is written.
void write_device_table(const CodewordTable& table, std::span<float> out) {
  const std::int64_t stride = table_stride(table.d);
  for (std::int64_t c = 0; c < device_rows(table.k); ++c) {
    const auto row = out.begin() + c * stride;
    *row = c < table.k ? table.half_norm(c) : FLT_MAX;
    if (c < table.k) std::ranges::copy(table.codeword(c), row + 1);
  }
}

class CudaClusterWork final : public ClusterWork {
 public:
  CudaClusterWork(const KmeansInput& input, const TiledBlocks& points, const FixedPoint& coordinate_scale,
                  std::int64_t k, const Device& device, const DeviceSum* sum)
      : device_(device),
        sum_(sum),
        count_(points.count),
        padded_(points.groups() * group_points),
        d_(input.d),
        k_(k),
        coordinate_scale_(coordinate_scale),
        tiles_(device, std::span<const float>(points.tiles)),
        blocks_(device, input.block(points.first, points.count)),
        table_(device, device_rows(k) * table_stride(input.d)),
        host_table_(static_cast<std::size_t>(table_.size()), 0.0f),
        codes_(device, padded_),
        previous_(device, std::vector<std::int32_t>(static_cast<std::size_t>(padded_), -1)),
        errors_(device, padded_),
        own_(device, k * (input.d + 1) + 2),
        all_(device, k * (input.d + 1) + 2) {
    static_assert(tile_points == device_tile_points);
    own_.set_zero();
  }

  /// One upload of the table and one download of the sums; the points stay where they are.
  void assign(const CodewordTable& table, const FixedPoint& error_scale, std::span<std::int64_t> totals,
              const Communicator& communicator) override {
    const std::int64_t cells = k_ * (d_ + 1);
    BITFALL_ASSERT(table.k == k_ && table.d == d_ && std::cmp_equal(totals.size(), cells + 2),
                   "k-means sizes");
    write_device_table(table, host_table_);
    table_.upload(host_table_);
    cuda::assign({.tiles = tiles_.data(),
                  .table = table_.data(),
                  .codes = codes_.data(),
                  .errors = errors_.data(),
                  .points = padded_,
                  .d = d_,
                  .codewords = table_.size() / table_stride(d_)},
                 device_);
    device_.set_zero(own_.data() + cells, 2 * sizeof(std::int64_t));
    update_cluster_sums({.blocks = blocks_.data(),
                         .codes = codes_.data(),
                         .errors = errors_.data(),
                         .previous = previous_.data(),
                         .sums = own_.data(),
                         .totals = own_.data() + cells,
                         .points = count_,
                         .d = d_,
                         .k = k_,
                         .coordinate_scale = std::ldexp(1.0, coordinate_scale_.exponent()),
                         .error_scale = std::ldexp(1.0, error_scale.exponent())},
                        device_);
    if (communicator.size() == 1) {
      own_.download(totals);
    } else {
      BITFALL_ASSERT(sum_ != nullptr, "a back end of one rank was given points of several");
      sum_->sum(own_.data(), all_.data(), all_.size());
      sum_->wait();
      all_.download(totals);
    }
    known_codes_.clear();
    known_errors_.clear();
  }

  std::span<const std::int32_t> codes() override { return fetch(codes_, known_codes_); }
  std::span<const float> errors() override { return fetch(errors_, known_errors_); }

 private:
  /// Downloaded when they are asked for: only refills and the end need them.
  template <class T>
  std::span<const T> fetch(const Buffer<T>& buffer, std::vector<T>& known) const {
    if (known.empty()) {
      known.resize(static_cast<std::size_t>(padded_));
      buffer.download(known);
    }
    return std::span<const T>(known).first(static_cast<std::size_t>(count_));
  }

  const Device& device_;
  const DeviceSum* sum_;
  std::int64_t count_, padded_, d_, k_;
  FixedPoint coordinate_scale_;
  Buffer<float> tiles_, blocks_, table_;
  std::vector<float> host_table_;
  Buffer<std::int32_t> codes_, previous_;
  Buffer<float> errors_;
  Buffer<std::int64_t> own_,
      all_;  ///< k rows of d sums and a count, then errors and moves: this rank's, all ranks'
  std::vector<std::int32_t> known_codes_;
  std::vector<float> known_errors_;
};

/// All positions in one launch, each block of threads with the codebook of its own.
class CudaPositionWork final : public PositionWork {
 public:
  CudaPositionWork(std::span<const TiledBlocks> positions, std::int64_t k, int threads, const Device& device)
      : device_(device),
        threads_(threads),
        k_(k),
        d_(positions.front().d),
        batches_(std::ssize(positions)),
        count_(positions.front().count),
        padded_(positions.front().groups() * group_points),
        tiles_(device, batches_ * padded_ * d_),
        tables_(device, batches_ * device_rows(k) * table_stride(d_)),
        host_tables_(static_cast<std::size_t>(tables_.size()), 0.0f),
        codes_(device, batches_ * padded_),
        errors_(device, batches_ * padded_),
        host_codes_(static_cast<std::size_t>(codes_.size())),
        host_errors_(host_codes_.size()) {
    for (std::int64_t i = 0; i < batches_; ++i) {
      const TiledBlocks& points = positions[static_cast<std::size_t>(i)];
      BITFALL_ASSERT(points.count == count_ && points.d == d_, "positions of one layer are alike");
      device.upload(tiles_.data() + i * padded_ * d_, points.tiles.data(),
                    padded_ * d_ * std::int64_t{sizeof(float)});
    }
  }

  void assign(const PositionCodebooks& codebooks, std::span<std::int32_t> codes,
              std::span<float> errors) override {
    const auto table_size = host_tables_.size() / static_cast<std::size_t>(batches_);
    parallel_for(batches_, threads_, [&](std::int64_t i) {
      CodewordTable table(k_, d_);
      codebooks.set(i, table);
      write_device_table(
          table, std::span(host_tables_).subspan(static_cast<std::size_t>(i) * table_size, table_size));
    });
    tables_.upload(host_tables_);
    cuda::assign({.tiles = tiles_.data(),
                  .table = tables_.data(),
                  .codes = codes_.data(),
                  .errors = errors_.data(),
                  .points = padded_,
                  .d = d_,
                  .codewords = device_rows(k_),
                  .batches = batches_},
                 device_);
    codes_.download(host_codes_);
    errors_.download(host_errors_);
    for (std::int64_t i = 0; i < batches_; ++i) {
      std::copy_n(host_codes_.begin() + i * padded_, count_, codes.begin() + i * count_);
      std::copy_n(host_errors_.begin() + i * padded_, count_, errors.begin() + i * count_);
    }
  }

 private:
  const Device& device_;
  int threads_;
  std::int64_t k_, d_, batches_, count_, padded_;
  Buffer<float> tiles_, tables_;
  std::vector<float> host_tables_;
  Buffer<std::int32_t> codes_;
  Buffer<float> errors_;
  std::vector<std::int32_t> host_codes_;
  std::vector<float> host_errors_;
};

/// A rank without positions.
class NoPositions final : public PositionWork {
 public:
  void assign(const PositionCodebooks& /*codebooks*/, std::span<std::int32_t> /*codes*/,
              std::span<float> /*errors*/) override {}
};

}  // namespace

std::unique_ptr<ClusterWork> CudaBackend::place(const KmeansInput& input, const TiledBlocks& points,
                                                const FixedPoint& coordinate_scale, std::int64_t k,
                                                int /*threads*/) const {
  return std::make_unique<CudaClusterWork>(input, points, coordinate_scale, k, device_, sum_);
}

std::unique_ptr<PositionWork> CudaBackend::place_positions(std::span<const TiledBlocks> positions,
                                                           std::int64_t k, int threads) const {
  if (positions.empty()) return std::make_unique<NoPositions>();
  return std::make_unique<CudaPositionWork>(positions, k, threads, device_);
}

}  // namespace bitfall::cuda
