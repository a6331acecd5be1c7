#pragma once
/// Evaluating detectors: average precision against annotations, or against a teacher's detections.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bitfall/images.hpp"
#include "bitfall/network.hpp"
#include "job.hpp"

namespace bitfall {

struct DetectionOptions {
  std::string annotations;     ///< COCO's json; "": the teacher's detections are the truth
  double teacher_score = 0.5;  ///< of those, the ones with at least this score
  std::string saved;           ///< where the detections go in COCO's result format; "": nowhere
};
/// Adds --annotations, --teacher-score and --save-detections.
void add_detection_options(CLI::App& job, DetectionOptions& options);

/// What is compared on which images.
struct DetectionSetting {
  const Network& network;
  const Network* teacher;  ///< needed without annotations
  const ShardSet& shards;
  const Preprocessing& preprocessing;
  const std::vector<std::vector<std::int64_t>>& batches;  ///< this rank's micro-batches
  const DetectionOptions& options;
  const JobContext& context;
};

/// Runs the networks over the images and counts as COCO does (python/bitfall_average_precision.py, which asks
/// pycocotools) (collective). Returns on every rank, in percent: {"images", "box": {"AP", "AP50", "AP75",
/// "AP_small", "AP_medium", "AP_large", "AR"}, "mask": the same, where the network has masks}; null where the
/// truth has nothing of that kind.
[[nodiscard]] nlohmann::json evaluate_detections(const DetectionSetting& setting);
/// "box AP 41.2, AP50 60.0; mask AP ... on 20 images".
[[nodiscard]] std::string describe_precision(const nlohmann::json& counted);

}  // namespace bitfall
