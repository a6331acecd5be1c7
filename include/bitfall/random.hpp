#pragma once
/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC 2011). A number is a pure function of (seed, stream, counter): it never depends on a rank, a thread or
/// a call order.
#include <array>
#include <cstdint>

namespace bitfall {

/// The four 32-bit words of Philox4x32-10.
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key);

/// Who draws from which streams under the job's seed. No two users may share one: the order of `pack` and
/// that of finetuning once did, and batches of the first epoch had half their images of one class.
namespace random_stream {
constexpr std::uint64_t clustering = 0;  ///< + index of the layer + restart * clustering_restart
constexpr std::uint64_t clustering_restart = std::uint64_t{1} << 20;
constexpr std::uint64_t calibration_images = std::uint64_t{1} << 40;
constexpr std::uint64_t pack_order = std::uint64_t{1} << 41;
constexpr std::uint64_t epoch_order = std::uint64_t{1} << 42;   ///< + stage of finetuning
constexpr std::uint64_t augmentation = std::uint64_t{1} << 48;  ///< + epoch
constexpr std::uint64_t gram_rows = std::uint64_t{1} << 49;     ///< + index of the layer
constexpr std::uint64_t sampled_labels = std::uint64_t{1} << 50;
constexpr std::uint64_t proposals = std::uint64_t{1} << 52;  ///< + iteration
constexpr std::uint64_t annealing = std::uint64_t{1} << 51;  ///< + the stream of the clustering
}  // namespace random_stream

/// 64 random bits of (seed, stream, index).
[[nodiscard]] std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t index);
/// Uniform in [0, bound), exact up to 2^-64 bias (multiply-shift). bound > 0.
[[nodiscard]] std::uint64_t random_below(std::uint64_t seed, std::uint64_t stream, std::uint64_t index,
                                         std::uint64_t bound);

}  // namespace bitfall
