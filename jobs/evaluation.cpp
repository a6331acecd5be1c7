#include "evaluation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

/// 2^-24 nats: with losses capped at 2^14 nats, 2^25 images stay below 2^63.
constexpr double units_per_nat = 1 << 24;
constexpr double largest_nats = 1 << 14;

std::int64_t to_units(double nats) {
  if (std::isnan(nats)) nats = largest_nats;
  return std::llrint(std::clamp(nats, -largest_nats, largest_nats) * units_per_nat);
}

/// log sum_c exp(x_c), the usual way: the largest term taken out.
double log_sum_exp(std::span<const float> x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float value : x) sum += std::exp(double(value) - largest);
  return largest + std::log(sum);
}

/// Number of classes that score higher than `label` (ties: the lower index is first, as in argmax).
std::int64_t rank_of(std::span<const float> x, std::int64_t label) {
  const float score = x[static_cast<std::size_t>(label)];
  std::int64_t higher = 0;
  for (std::int64_t c = 0; c < static_cast<std::int64_t>(x.size()); ++c) {
    const float other = x[static_cast<std::size_t>(c)];
    higher += other > score || (other == score && c < label) ? 1 : 0;
  }
  return higher;
}

std::int64_t argmax(std::span<const float> x) {
  return std::max_element(x.begin(), x.end()) - x.begin();
}

/// KL(p || q) = sum_c p_c (log p_c - log q_c), p and q the softmax of the teacher's and the network's logits.
double kl_divergence(std::span<const float> teacher, std::span<const float> student) {
  const double log_zp = log_sum_exp(teacher), log_zq = log_sum_exp(student);
  double sum = 0;
  for (std::size_t c = 0; c < teacher.size(); ++c) {
    const double log_p = double(teacher[c]) - log_zp, log_q = double(student[c]) - log_zq;
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return sum;
}

at::Tensor as_matrix(const at::Tensor& logits, std::int64_t rows) {
  if (logits.dim() != 2 || logits.size(0) != rows) {
    throw DataError("the network's output is not a matrix of logits [images, classes]");
  }
  return logits.to(at::kCPU, at::kFloat).contiguous();
}

}  // namespace

void Evaluation::add(const at::Tensor& logits, std::span<const std::int64_t> labels,
                     const at::Tensor& teacher_logits) {
  const at::Tensor student = as_matrix(logits, static_cast<std::int64_t>(labels.size()));
  const auto classes = static_cast<std::size_t>(student.size(1));
  at::Tensor teacher;
  if (teacher_logits.defined()) {
    teacher = as_matrix(teacher_logits, student.size(0));
    if (teacher.size(1) != student.size(1))
      throw DataError("teacher and network have different numbers of classes");
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::span<const float> row(student.const_data_ptr<float>() + i * classes, classes);
    if (labels[i] < 0 || labels[i] >= static_cast<std::int64_t>(classes)) {
      throw DataError("label " + std::to_string(labels[i]) + " is outside the network's " +
                      std::to_string(classes) + " classes");
    }
    const std::int64_t rank = rank_of(row, labels[i]);
    ++images_;
    top1_ += rank < 1 ? 1 : 0;
    top5_ += rank < 5 ? 1 : 0;
    loss_ += to_units(log_sum_exp(row) - double(row[static_cast<std::size_t>(labels[i])]));
    if (teacher.defined()) {
      const std::span<const float> reference(teacher.const_data_ptr<float>() + i * classes, classes);
      agree_ += argmax(row) == argmax(reference) ? 1 : 0;
      divergence_ += to_units(kl_divergence(reference, row));
    }
  }
}

void Evaluation::add(const Evaluation& other) {
  images_ += other.images_;
  top1_ += other.top1_;
  top5_ += other.top5_;
  agree_ += other.agree_;
  loss_ += other.loss_;
  divergence_ += other.divergence_;
}

void Evaluation::reduce(const Communicator& communicator) {
  std::array<std::int64_t, 6> all = {images_, top1_, top5_, agree_, loss_, divergence_};
  communicator.sum(all);
  images_ = all[0];
  top1_ = all[1];
  top5_ = all[2];
  agree_ = all[3];
  loss_ = all[4];
  divergence_ = all[5];
}

double Evaluation::mean(std::int64_t sum) const {
  return images_ == 0 ? 0 : double(sum) / units_per_nat / double(images_);
}

}  // namespace bitfall
