#pragma once
/// Sets of defaults: the paper's, and the best that docs/accuracy.md has measured.
#include <CLI/CLI.hpp>

#include <string>

#include "compression.hpp"
#include "finetuning.hpp"
#include "plan_options.hpp"

namespace bitfall {

/// `--recipe best|paper`. What the user has said on the command line or in a configuration file stays.
class Recipe {
 public:
  /// Adds the option to `job`, which must have the options that the members below set.
  void add_option(CLI::App& job);
  /// best: the whole Gram matrix, aiming at the teacher's outputs. paper: the pooled matrix.
  /// Throws UsageError when the choices do not fit each other.
  void choose_metric(PlanOptions& plan, CompressionParameters& compression) const;
  /// best: a cosine from 0.02, batch norms as they are. paper: 0.01, a tenth every three epochs, batch norms
  /// in training.
  void choose_rates(FinetuneOptions& finetune) const;

 private:
  [[nodiscard]] bool is_open(const char* option) const;
  CLI::App* job_ = nullptr;
  std::string name_ = "best";
};

}  // namespace bitfall
