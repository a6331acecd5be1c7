#include "recipe.hpp"

#include "bitfall/errors.hpp"

namespace bitfall {

void Recipe::add_option(CLI::App& job) {
  job_ = &job;
  job.add_option("--recipe", name_,
                 "defaults of the other options: best (docs/accuracy.md), or paper (Stock et al., 2020)")
      ->check(CLI::IsMember({"best", "paper"}))
      ->capture_default_str();
}

bool Recipe::is_open(const char* option) const {
  return name_ == "best" && job_->get_option(option)->count() == 0;
}

void Recipe::choose_metric(PlanOptions& plan, CompressionParameters& compression) const {
  if (is_open("--metric")) plan.metric = to_string(Metric::full);
  const bool full = plan.metric == to_string(Metric::full);
  MomentParameters& moments = compression.moments;
  if (is_open("--match-teacher") && full) moments.match_teacher = true;
  if (moments.match_teacher && !full)
    throw UsageError("--match-teacher works with --metric full, not with --metric " + plan.metric);
  if (is_open("--mend-shortcuts") && moments.match_teacher) moments.mend_shortcuts = true;
  if (moments.mend_shortcuts && !moments.match_teacher)
    throw UsageError("--mend-shortcuts needs --match-teacher: it is the teacher's sums that are aimed at");
}

void Recipe::choose_rates(FinetuneOptions& finetune) const {
  if (is_open("--learning-rate")) finetune.learning_rate = 0.02;
  if (is_open("--schedule")) finetune.schedule = "cosine";
  if (is_open("--bn-statistics")) finetune.bn_statistics = "frozen";
}

}  // namespace bitfall
