#pragma once
/// The plan: what becomes of every layer, and what it will cost. A value: made first, printed by --dry-run,
/// stored in the archive, then executed.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/layer.hpp"
#include "bitfall/metric.hpp"

namespace bitfall {

enum class Regime { small, large };  ///< block sizes of the paper: small 3x3 d 9, 1x1 d 4; large d 18 and 8
[[nodiscard]] std::string_view to_string(Regime regime);
/// Throws UsageError that lists the known names.
[[nodiscard]] Regime regime_from_string(std::string_view name);

/// One override of the configuration file: layers whose name matches `pattern` (shell glob) get these values.
struct PlanOverride {
  std::string pattern;
  std::optional<std::int64_t> d;  ///< block size; must divide the columns of every layer it is used for
  std::optional<std::int64_t> k;  ///< codewords, 2..65536; clamped like every other k
  std::optional<bool> quantize;   ///< false: leave alone; true: also layers that a rule would leave alone
};

struct PlanParameters {
  Regime regime = Regime::small;
  std::string preset =
      "auto";            ///< auto | resnet18 | resnet50: classifier's k, and d of 1x1 in the large regime
  std::int64_t k = 256;  ///< codewords of convolutions
  std::optional<std::int64_t> k_linear;  ///< codewords of linear layers; default from the preset
  Metric metric = Metric::activation;
  std::vector<PlanOverride> overrides;  ///< applied in order, the last match wins
  /// What a bit is worth: minimises (mean over layers of the relative output error) + rate * (bits of codes
  /// and codebooks) / (quantized weights). 0: codes are chosen by their error alone.
  double rate = 0;
};

struct LayerPlan {
  Layer layer;
  bool quantized = false;
  std::string reason;  ///< why it is left alone; empty when quantized
  std::int64_t d = 0, k = 0, m = 0, n = 0;
  std::int64_t requested_k = 0;  ///< k before the clamp
  double bit_price = 0;          ///< relative output error that a bit of this layer is worth; 0: k is fixed
  Metric metric = Metric::activation;
  [[nodiscard]] int code_bits() const;             ///< ceil(log2 k)
  [[nodiscard]] std::int64_t codes_bytes() const;  ///< ceil(n * code_bits / 8)
  [[nodiscard]] std::int64_t codebook_bytes() const { return k * d * 2; }
};

/// Bytes by the paper's rule (section 5.1): log2(k) bits a code, fp16 codebooks, the rest in fp32 with batch
/// norms folded to two values a channel. MiB = 2^20 bytes.
struct Sizes {
  std::int64_t original_bytes = 0;  ///< all floating-point parameters in fp32
  std::int64_t codes_bytes = 0;
  std::int64_t codebooks_bytes = 0;
  std::int64_t kept_elements = 0;  ///< parameters that stay: first convolution, biases, folded batch norms
  [[nodiscard]] std::int64_t information_bytes() const {
    return codes_bytes + codebooks_bytes + 4 * kept_elements;
  }
  [[nodiscard]] std::int64_t information_bytes_fp16() const {
    return codes_bytes + codebooks_bytes + 2 * kept_elements;
  }
  [[nodiscard]] double ratio() const { return double(original_bytes) / double(information_bytes()); }
};

struct Plan {
  Regime regime = Regime::small;
  std::string preset;  ///< whose rules were followed: "resnet18", "resnet50", or "imported" (none of ours)
  std::vector<LayerPlan> layers;  ///< network order
  Sizes sizes;
  [[nodiscard]] std::int64_t quantized_layers() const;
};

/// Decides d and k of every layer. The first convolution is left alone; k is clamped to the largest power of
/// two strictly below n/4. Throws ConfigError when an override's d does not divide a layer's columns (the
/// layer is named), its k is out of range, or its pattern matches nothing; DataError when nothing can be
/// quantized.
[[nodiscard]] Plan make_plan(std::span<const Layer> layers, std::span<const TensorInfo> tensors,
                             const PlanParameters& parameters);

/// The largest power of two strictly below n/4, at least 1: more codewords than that cost more than they
/// save.
[[nodiscard]] std::int64_t largest_k(std::int64_t n);

/// What a network costs when `layers` are replaced and everything else of `tensors` stays.
[[nodiscard]] Sizes count_sizes(std::span<const LayerPlan> layers, std::span<const TensorInfo> tensors);

/// The plan as a JSON text / as a table for people.
[[nodiscard]] std::string to_json(const Plan& plan);
[[nodiscard]] std::string to_table(const Plan& plan);

}  // namespace bitfall
