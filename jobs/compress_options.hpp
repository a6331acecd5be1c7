#pragma once
/// What `bitfall compress` can be told.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "compression.hpp"
#include "finetuning.hpp"
#include "inputs.hpp"
#include "permute.hpp"
#include "plan_options.hpp"
#include "recipe.hpp"
#include "size_target.hpp"

namespace bitfall {

struct CompressOptions {
  std::string model, output;
  DataOptions data;
  std::int64_t calibration_images = 1024;
  std::string kept = "exact";
  SizeTarget target;
  bool no_embedded_model = false;
  PlanOptions plan;
  PermuteOptions permute;
  CompressionParameters compression;
  std::string bn = "walk";
  bool output_weights = false;
  Recipe recipe;
  FinetuneOptions finetune;
  CheckpointOptions checkpoints;
  [[nodiscard]] bool finetunes() const { return finetune.layer_iterations > 0 || finetunes_globally(); }
  [[nodiscard]] bool finetunes_globally() const { return finetune.epochs > 0 || finetune.iterations > 0; }

  /// UsageError for options that do not work together.
  void require_compatible() const;
  /// The options that decide what comes out; of the plan and the data the job knows more.
  [[nodiscard]] nlohmann::json fingerprint() const;
};

void add_options(CLI::App& job, CompressOptions& options);

}  // namespace bitfall
