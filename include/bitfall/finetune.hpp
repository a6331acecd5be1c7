#pragma once
/// Finetuning: what training moves, and how (paper, sections 3.3 and 3.4).
#include <cstdint>
#include <string>

namespace bitfall {

enum class OptimizerKind { sgd, adam };
enum class ScheduleKind { constant, step, cosine };
/// Throw UsageError that lists the known names.
[[nodiscard]] OptimizerKind optimizer_from_string(const std::string& name);
[[nodiscard]] ScheduleKind schedule_from_string(const std::string& name);

/// What networks compute in while they train: float32, or bfloat16 where LibTorch's autocast uses it
/// (products and convolutions; weights, gradients, sums and losses stay float32).
enum class Precision { fp32, bf16 };
[[nodiscard]] Precision precision_from_string(const std::string& name);

/// One update from the mean gradient g over the images of a batch, lr from the schedule:
/// sgd:  v <- momentum v + (g + decay x);  x <- x - lr v
/// adam: m, v <- moments of g + decay x;   x <- x - lr m' / (sqrt(v') + epsilon)  (bias corrected)
struct OptimizerParameters {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;                 ///< paper
  double weight_decay = 1e-4;            ///< paper
  double beta2 = 0.999, epsilon = 1e-8;  ///< of Adam, whose beta1 is `momentum` (Kingma and Ba, 2015)
};

/// The learning rate of an iteration.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  double learning_rate = 0.01;       ///< of the first iteration (paper)
  double step_factor = 0.1;          ///< step: multiplied with this...
  std::int64_t step_iterations = 0;  ///< ...after every so many iterations (paper: three epochs); 0: never
  std::int64_t iterations = 0;       ///< cosine: falls to 0 over so many
  [[nodiscard]] double at(std::int64_t iteration) const;
};

/// loss = KL(softmax(teacher / T) || softmax(student / T)) T^2 + label_weight * cross-entropy(student, label)
struct Distillation {
  double temperature = 1;   ///< T (paper: 1)
  double label_weight = 0;  ///< (paper: 0, no labels are used)
};

/// Of detectors instead: the student's own training losses with the teacher's detections as the truth, and
/// the distance between the features of the backbones.
struct DetectionDistillation {
  double teacher_score = 0.5;  ///< of the detections that count
  double feature_weight = 1;   ///< 0: losses alone
};

}  // namespace bitfall
