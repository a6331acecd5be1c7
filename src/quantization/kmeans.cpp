#include "bitfall/kmeans.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <unordered_set>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "bitfall/quantized_layer.hpp"
#include "parallel/threads.hpp"
#include "quantization/estep.hpp"
#include "quantization/kmeans_blocks.hpp"
#include "quantization/kmeans_init.hpp"

namespace bitfall {
namespace {

constexpr std::int64_t task_groups = 16;  ///< groups (of 64 points) that a thread takes at a time

/// The state of one clustering. Values are scaled by 2^exponent (see BlockScale) all the way.
class Clustering {
 public:
  Clustering(std::span<const float> blocks, std::int64_t d, const Whitening& whitening,
             const KmeansParameters& parameters, const Communicator& communicator)
      : blocks_(blocks),
        d_(d),
        n_(static_cast<std::int64_t>(blocks.size()) / d),
        k_(std::min(parameters.k, count_distinct(blocks, d, parameters.k))),
        whitening_(whitening),
        parameters_(parameters),
        communicator_(communicator),
        scale_(measure_blocks(blocks, d)),
        factor_(std::ldexp(1.0, scale_.exponent)),
        points_(tile_blocks(blocks, d, scale_.exponent, whitening, parameters.threads)),
        share_(communicator.share(points_.groups())),
        value_scale_(FixedPoint::for_sum(2.0, n_)),
        // A codeword is a mean of points or a point: (|v| + |c|)^2 <= 4 max |v|^2; fp16 rounding fits in the
        // rest.
        error_scale_(FixedPoint::for_sum(8 * points_.largest_norm2, n_)),
        table_(k_, d),
        codes_(static_cast<std::size_t>(points_.groups() * group_points), -1),
        errors_(codes_.size(), 0.0F),
        codebook_(static_cast<std::size_t>(k_ * d)),
        local_(static_cast<std::size_t>(k_ * (d + 1)), 0) {}

  KmeansResult run() {
    start();
    for (std::int64_t i = 0; i < parameters_.iterations; ++i) {
      KmeansIteration iteration = assign();
      iteration.refilled = refill();
      iterations_.push_back(iteration);
      if (iteration.moved == 0 && iteration.refilled == 0) break;
      update();
    }
    return finish();
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] double value(std::int64_t block, std::int64_t j) const {
    return static_cast<double>(blocks_[static_cast<std::size_t>(block * d_ + j)]) * factor_;
  }

  void start() {
    const auto chosen = kmeans_plus_plus(points_, k_, parameters_);
    for (std::int64_t c = 0; c < k_; ++c) copy_block(chosen[static_cast<std::size_t>(c)], c);
  }

  void copy_block(std::int64_t block, std::int64_t codeword) {
    for (std::int64_t j = 0; j < d_; ++j)
      codebook_[static_cast<std::size_t>(codeword * d_ + j)] = static_cast<float>(value(block, j));
  }

  /// Adds (sign 1) or removes (-1) a block from sums [k][d + 1]: d integer sums and the count.
  void count_block(std::vector<std::int64_t>& sums, std::int64_t block, std::int64_t codeword,
                   std::int64_t sign) const {
    std::int64_t* row = sums.data() + codeword * (d_ + 1);
    for (std::int64_t j = 0; j < d_; ++j) row[j] += sign * value_scale_.to_integer(value(block, j));
    row[d_] += sign;
  }

  /// E-step on this rank's groups. Sums are integers, so following only the blocks that moved is exact.
  KmeansIteration assign() {
    const auto begin = Clock::now();
    std::vector<float> whitened(codebook_.size());
    whitening_.apply(codebook_, whitened);
    table_.set(whitened);
    struct Worker {
      std::vector<std::int64_t> sums;
      std::int64_t moved = 0, objective = 0;
    };
    std::vector<Worker> workers(static_cast<std::size_t>(parameters_.threads));
    const std::int64_t tasks = (share_.size() + task_groups - 1) / task_groups;
    parallel_for_workers(tasks, parameters_.threads, [&](std::int64_t task, int number) {
      Worker& worker = workers[static_cast<std::size_t>(number)];
      if (worker.sums.empty()) worker.sums.assign(local_.size(), 0);
      const std::int64_t first = share_.first + task * task_groups,
                         last = std::min(first + task_groups, share_.last);
      assign_task(first, last, worker.sums, worker.moved, worker.objective);
    });
    std::int64_t moved = 0, objective = 0;
    for (const Worker& worker : workers) {
      moved += worker.moved;
      objective += worker.objective;
      for (std::size_t i = 0; i < worker.sums.size(); ++i) local_[i] += worker.sums[i];
    }
    // One collective: afterwards every rank has the sums and counts of all clusters, the moves and the
    // objective.
    global_ = local_;
    global_.push_back(moved);
    global_.push_back(objective);
    communicator_.sum(global_);
    KmeansIteration result;
    result.objective = std::ldexp(error_scale_.to_double(global_.back()), -2 * scale_.exponent);
    global_.pop_back();
    result.moved = global_.back();
    global_.pop_back();
    result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return result;
  }

  void assign_task(std::int64_t first, std::int64_t last, std::vector<std::int64_t>& sums,
                   std::int64_t& moved, std::int64_t& objective) {
    std::vector<std::int32_t> codes(static_cast<std::size_t>((last - first) * group_points));
    float* errors = errors_.data() + first * group_points;
    assign_groups(points_.group(first), last - first, table_, codes.data(), errors);
    const std::int64_t begin = first * group_points, end = std::min(last * group_points, n_);
    for (std::int64_t i = begin; i < end; ++i) {
      objective += error_scale_.to_integer(static_cast<double>(errors[i - begin]));
      const std::int32_t code = codes[static_cast<std::size_t>(i - begin)];
      std::int32_t& old = codes_[static_cast<std::size_t>(i)];
      if (code == old) continue;
      if (old >= 0) count_block(sums, i, old, -1);
      count_block(sums, i, code, 1);
      old = code;
      ++moved;
    }
  }

  [[nodiscard]] std::int64_t count(std::int64_t codeword) const {
    return global_[static_cast<std::size_t>(codeword * (d_ + 1) + d_)];
  }

  /// This rank's blocks, as indices.
  [[nodiscard]] Communicator::Range own_blocks() const {
    return {std::min(share_.first * group_points, n_), std::min(share_.last * group_points, n_)};
  }

  template <class T>
  [[nodiscard]] std::vector<T> gather(const std::vector<T>& values) const {
    const auto own = own_blocks();
    return communicator_.all_gather(std::span<const T>(values).subspan(static_cast<std::size_t>(own.first),
                                                                       static_cast<std::size_t>(own.size())));
  }

  /// Gives each empty codeword one of the blocks that are served worst: in one pass, so that nothing can
  /// loop. A block that is alone in its cluster, equal to one already taken, or served perfectly is passed
  /// over.
  std::int64_t refill() {
    std::vector<std::int64_t> empty;
    for (std::int64_t c = 0; c < k_; ++c)
      if (count(c) == 0) empty.push_back(c);
    if (empty.empty()) return 0;
    const std::vector<float> errors = gather(errors_);
    const std::vector<std::int32_t> codes = gather(codes_);
    std::vector<std::int64_t> order(static_cast<std::size_t>(n_));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      const float ea = errors[static_cast<std::size_t>(a)], eb = errors[static_cast<std::size_t>(b)];
      return ea != eb ? ea > eb : a < b;
    });
    const BlockIdentity identity(blocks_, d_);
    std::unordered_set<std::int64_t, BlockIdentity, BlockIdentity> taken(16, identity, identity);
    std::size_t filled = 0;
    for (const std::int64_t block : order) {
      if (filled == empty.size() || errors[static_cast<std::size_t>(block)] <= 0) break;
      const std::int32_t old = codes[static_cast<std::size_t>(block)];
      if (count(old) < 2 || !taken.insert(block).second) continue;
      move_block(block, old, empty[filled++]);
    }
    return static_cast<std::int64_t>(filled);
  }

  void move_block(std::int64_t block, std::int64_t from, std::int64_t to) {
    const auto own = own_blocks();
    if (block >= own.first && block < own.last) {
      codes_[static_cast<std::size_t>(block)] = static_cast<std::int32_t>(to);
      count_block(local_, block, from, -1);
      count_block(local_, block, to, 1);
    }
    count_block(global_, block, from, -1);
    count_block(global_, block, to, 1);
  }

  /// M-step: c = sum of members / number of members. A codeword without members stays.
  void update() {
    for (std::int64_t c = 0; c < k_; ++c) {
      if (count(c) == 0) continue;
      for (std::int64_t j = 0; j < d_; ++j) {
        const double sum = value_scale_.to_double(global_[static_cast<std::size_t>(c * (d_ + 1) + j)]);
        codebook_[static_cast<std::size_t>(c * d_ + j)] =
            static_cast<float>(sum / static_cast<double>(count(c)));
      }
    }
  }

  /// Rounds the codebook to fp16 and assigns once more, so that the codes fit what is stored (design, section
  /// 2).
  KmeansResult finish() {
    KmeansResult result;
    result.k = k_;
    result.codebook.resize(codebook_.size());
    for (std::size_t i = 0; i < codebook_.size(); ++i) {
      const double stored = std::ldexp(static_cast<double>(codebook_[i]), -scale_.exponent);
      result.codebook[i] = float_to_half(static_cast<float>(stored));
      const float rounded = half_to_float(result.codebook[i]);
      if (!std::isfinite(rounded))
        throw DataError("a codeword has the value " + std::to_string(stored) +
                        ", which does not fit fp16 (at most 65504)");
      codebook_[i] = static_cast<float>(static_cast<double>(rounded) * factor_);
    }
    iterations_.push_back(assign());
    const std::vector<std::int32_t> codes = gather(codes_);
    result.codes.assign(codes.begin(), codes.end());
    result.iterations = std::move(iterations_);
    return result;
  }

  std::span<const float> blocks_;
  std::int64_t d_, n_, k_;
  const Whitening& whitening_;
  const KmeansParameters& parameters_;
  const Communicator& communicator_;
  BlockScale scale_;
  double factor_;
  TiledBlocks points_;
  Communicator::Range share_;  ///< this rank's groups of points
  FixedPoint value_scale_, error_scale_;
  CodewordTable table_;
  std::vector<std::int32_t> codes_;  ///< of this rank's blocks; -1: none yet
  std::vector<float> errors_;
  std::vector<float> codebook_;
  std::vector<std::int64_t> local_, global_;  ///< [k][d + 1]: sums and counts, of this rank and of all
  std::vector<KmeansIteration> iterations_;
};

}  // namespace

KmeansResult kmeans(std::span<const float> blocks, std::int64_t d, const Whitening& whitening,
                    const KmeansParameters& parameters, const Communicator& communicator) {
  BITFALL_ASSERT(d > 0 && !blocks.empty() && static_cast<std::int64_t>(blocks.size()) % d == 0,
                 "blocks of k-means");
  BITFALL_ASSERT(whitening.d() == d, "whitening of k-means");
  BITFALL_ASSERT(parameters.k >= 1 && parameters.k <= 65536 && parameters.threads >= 1,
                 "parameters of k-means");
  return Clustering(blocks, d, whitening, parameters, communicator).run();
}

}  // namespace bitfall
