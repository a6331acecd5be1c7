#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "bitfall/exact_sum.hpp"
#include "calibration/device_rows.hpp"
#include "calibration/magnitude.hpp"
#include "calibration/sampled_rows.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

using Chunk = SampledRows::Chunk;

std::vector<at::Tensor> contiguous(std::span<const at::Tensor> tensors) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& tensor : tensors) all.push_back(tensor.contiguous());
  return all;
}

bool same_shapes(std::span<const at::Tensor> a, std::span<const at::Tensor> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return x.sizes() == y.sizes(); });
}

/// max over rows of sum |w|
double largest_row(std::span<const float> weight, std::int64_t columns) {
  double largest = 0;
  for (std::size_t first = 0; first < weight.size(); first += static_cast<std::size_t>(columns)) {
    double sum = 0;
    for (const float w : weight.subspan(first, static_cast<std::size_t>(columns))) sum += std::abs(double(w));
    largest = std::max(largest, sum);
  }
  return largest;
}

/// W x_t at the positions of the student's chunks, found in one of two ways.
class TeacherProducts {
 public:
  TeacherProducts(const Layer& layer, const WantedOutput& wanted, const SampledRows& student,
                  std::span<const at::Tensor> inputs, const FullGramParameters& parameters,
                  const Communicator& communicator)
      : student_(student) {
    // Ranks without images know by `fit` too: nothing fits nothing.
    const bool made = communicator.max(std::int64_t{wanted.teacher_outputs.empty() ? 0 : 1}) > 0;
    const bool fits =
        made ? student.fit_outputs(wanted.teacher_outputs) : same_shapes(inputs, wanted.teacher_inputs);
    corresponds_ = communicator.max(std::int64_t{fits ? 0 : 1}) == 0;
    if (!corresponds_) return;
    if (made) {
      outputs_ = contiguous(wanted.teacher_outputs);
      if (wanted.bias.defined()) bias_ = wanted.bias.to(at::kFloat).unsqueeze(1);
      find_largest_output(layer, parameters.threads, communicator);
      return;
    }
    rows_.emplace(layer, wanted.teacher_inputs, parameters, communicator);
    weight_ =
        at::from_blob(const_cast<float*>(wanted.weight.data()), {layer.rows(), layer.columns()}, at::kFloat);
    if (!rows_->inputs().empty()) weight_ = weight_.to(rows_->inputs().front().device());
    largest_ = largest_row(wanted.weight, layer.columns()) * rows_->largest();
  }

  [[nodiscard]] bool corresponds() const { return corresponds_; }
  [[nodiscard]] double largest() const { return largest_; }  ///< magnitude, at most, on any rank

  /// [rows, count]
  [[nodiscard]] at::Tensor of(const Chunk& chunk) {
    if (rows_) return at::mm(weight_, rows_->gather(chunk, memory_).t()).contiguous();
    at::Tensor products = student_.gather_outputs(chunk, outputs_);
    if (bias_.defined()) products.sub_(bias_);
    return products;
  }

 private:
  void find_largest_output(const Layer& layer, int threads, const Communicator& communicator) {
    communicator.guarded("teacher's outputs of layer '" + layer.name + "'", [&] {
      largest_ = largest_magnitude(outputs_, threads);
      if (bias_.defined()) largest_ += bias_.abs().max().item<double>();
      if (!(largest_ < 1e19))
        throw DataError("the output of layer '" + layer.name +
                        "' in the unquantized network has values that are NaN, infinite or above 1e19");
    });
    largest_ = communicator.max(largest_);
  }

  const SampledRows& student_;
  bool corresponds_ = false;
  double largest_ = 0;
  std::vector<at::Tensor> outputs_;  ///< contiguous
  at::Tensor bias_;                  ///< [rows, 1]
  std::optional<SampledRows> rows_;  ///< without outputs
  at::Tensor weight_, memory_;
};

/// (s_t - s_s) / gain at the positions of the student's chunks.
class ShortcutDifferences {
 public:
  ShortcutDifferences(const Shortcuts& shortcuts, const SampledRows& student, int threads,
                      const Communicator& communicator)
      : student_(student) {
    const bool fits = std::cmp_equal(shortcuts.gain.size(), student.layer().rows()) &&
                      student.fit_outputs(shortcuts.teacher) && student.fit_outputs(shortcuts.student);
    present_ = communicator.max(std::int64_t{fits ? 0 : 1}) == 0;
    if (!present_) return;
    in_teacher_ = contiguous(shortcuts.teacher);
    in_student_ = contiguous(shortcuts.student);
    double least_gain = HUGE_VAL;
    for (const float gain : shortcuts.gain)
      if (gain != 0) least_gain = std::min(least_gain, std::abs(double(gain)));
    const double largest = largest_magnitude(in_teacher_, threads) + largest_magnitude(in_student_, threads);
    largest_ = communicator.max(largest / least_gain);
    at::Tensor inverse = at::tensor(at::ArrayRef<float>(shortcuts.gain)).unsqueeze(1);
    inverse = inverse.reciprocal().masked_fill(inverse == 0, 0);
    inverse_gain_ = in_student_.empty() ? inverse : inverse.to(in_student_.front().device());
  }

  [[nodiscard]] double largest() const { return largest_; }  ///< magnitude, at most, on any rank

  void add_to(const at::Tensor& products, const Chunk& chunk) const {
    if (!present_) return;
    const at::Tensor difference =
        student_.gather_outputs(chunk, in_teacher_).sub_(student_.gather_outputs(chunk, in_student_));
    products.addcmul_(difference, inverse_gain_);
  }

 private:
  const SampledRows& student_;
  bool present_ = false;
  double largest_ = 0;
  std::vector<at::Tensor> in_teacher_, in_student_;  ///< contiguous
  at::Tensor inverse_gain_;                          ///< [rows, 1]; 0 for a gain of 0
};

/// sums += round(Y X 2^s), Y [rows, count] and X [count, columns]: panels of rows are shared by threads, each
/// entry is one float product of at most a chunk's rows, rounded once. 2 rows * count * columns operations,
/// 8 bytes added to per rows * columns.
void add_product(const at::Tensor& y, const at::Tensor& x, const FixedPoint& scale, int threads,
                 std::vector<std::int64_t>& sums) {
  constexpr std::int64_t panel_rows = 64;
  const std::int64_t rows = y.size(0), columns = x.size(1);
  parallel_for((rows + panel_rows - 1) / panel_rows, threads, [&](std::int64_t panel) {
    const std::int64_t first = panel * panel_rows;
    const std::int64_t count = std::min(panel_rows, rows - first);
    const at::Tensor product = at::mm(y.narrow(0, first, count), x).contiguous();
    const float* value = product.const_data_ptr<float>();
    std::int64_t* sum = sums.data() + first * columns;
    for (std::int64_t i = 0; i < count * columns; ++i) sum[i] += scale.to_integer(double(value[i]));
  });
}

}  // namespace

std::vector<double> accumulate_cross_moments(const Layer& layer, const WantedOutput& wanted,
                                             std::span<const at::Tensor> inputs,
                                             const FullGramParameters& parameters,
                                             const Communicator& communicator) {
  const SampledRows student(layer, inputs, parameters, communicator);
  TeacherProducts products(layer, wanted, student, inputs, parameters, communicator);
  if (!products.corresponds()) return {};
  const ShortcutDifferences differences(wanted.shortcuts, student, parameters.threads, communicator);
  // |sum y x| <= rows max|y| max|x|, and a little for float rounding
  const double largest = products.largest() + differences.largest();
  const FixedPoint scale = FixedPoint::for_sum(1.01 * largest * student.largest(), student.rows());
  std::vector<std::int64_t> sums(static_cast<std::size_t>(layer.rows() * layer.columns()), 0);
  DeviceSums on_device(scale, parameters.arrays);
  at::Tensor memory;
  student.each_chunk("cross moments", [&](const Chunk& chunk) {
    const at::Tensor x = student.gather(chunk, memory);
    const at::Tensor y = products.of(chunk);
    differences.add_to(y, chunk);
    if (student.on_device())
      on_device.add_product(y, x);
    else
      add_product(y, x, scale, parameters.threads, sums);
  });
  if (std::vector<std::int64_t> found = on_device.values(); !found.empty()) sums = std::move(found);
  communicator.sum(sums);
  std::vector<double> moments(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) moments[i] = scale.to_double(sums[i]);
  return moments;
}

}  // namespace bitfall
