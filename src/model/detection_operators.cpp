#include "model/detection_operators.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

/// Greedy non-maximum suppression: from the highest score down, a box stays unless one that stays overlaps it
/// by more than the threshold (intersection over union). Boxes are [n, 4]: x1, y1, x2, y2. Work: kept boxes *
/// n.
at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, double threshold) {
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4 && scores.dim() == 1 && scores.size(0) == boxes.size(0),
              "nms needs boxes [n, 4] and scores [n]");
  const at::Tensor plain = boxes.to(at::kFloat).contiguous();
  const at::Tensor order =
      std::get<1>(scores.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true)).contiguous();
  const auto* box = reinterpret_cast<const float(*)[4]>(plain.const_data_ptr<float>());
  const std::int64_t* by_score = order.const_data_ptr<std::int64_t>();
  const std::int64_t count = plain.size(0);
  const auto area = [&](std::int64_t i) { return (box[i][2] - box[i][0]) * (box[i][3] - box[i][1]); };
  std::vector<char> suppressed(static_cast<std::size_t>(count), 0);
  std::vector<std::int64_t> kept;
  for (std::int64_t a = 0; a < count; ++a) {
    const std::int64_t i = by_score[a];
    if (suppressed[static_cast<std::size_t>(i)] != 0) continue;
    kept.push_back(i);
    for (std::int64_t b = a + 1; b < count; ++b) {
      const std::int64_t j = by_score[b];
      const float width = std::max(0.0F, std::min(box[i][2], box[j][2]) - std::max(box[i][0], box[j][0]));
      const float height = std::max(0.0F, std::min(box[i][3], box[j][3]) - std::max(box[i][1], box[j][1]));
      const float both = width * height;
      const float overlap = both / (area(i) + area(j) - both);
      if (static_cast<double>(overlap) > threshold) suppressed[static_cast<std::size_t>(j)] = 1;
    }
  }
  at::Tensor result = at::empty({static_cast<std::int64_t>(kept.size())}, at::kLong);
  std::copy(kept.begin(), kept.end(), result.mutable_data_ptr<std::int64_t>());
  return result;
}

/// What roi_align is told beside its tensors.
struct RoiShape {
  double scale;
  std::int64_t height, width;  ///< bins
  std::int64_t sampling;       ///< samples a bin along each axis; 0 or less: as many as the bin is long
  bool aligned;                ///< pixels have their centres at half coordinates
};

/// Four neighbours of a sample and their weights; none where it lies outside of the image.
struct Sample {
  std::int64_t place[4] = {0, 0, 0, 0};
  float weight[4] = {0, 0, 0, 0};
};

/// A coordinate between two pixels: the lower one, the higher one, and the higher one's weight.
std::optional<std::tuple<std::int64_t, std::int64_t, float>> between(float at, std::int64_t size) {
  if (at < -1.0F || at > static_cast<float>(size)) return std::nullopt;
  at = std::max(at, 0.0F);
  const auto low = static_cast<std::int64_t>(at);
  if (low >= size - 1) return std::tuple(size - 1, size - 1, 0.0F);
  return std::tuple(low, low + 1, at - static_cast<float>(low));
}

/// The samples of all bins of one region, bin by bin; returns how many a bin has.
std::int64_t place_samples(const float* roi, const RoiShape& shape, std::int64_t image_height,
                           std::int64_t image_width, std::vector<Sample>& samples) {
  const auto scale = static_cast<float>(shape.scale);
  const float offset = shape.aligned ? 0.5F : 0.0F;
  const float left = roi[1] * scale - offset, top = roi[2] * scale - offset;
  float width = roi[3] * scale - offset - left, height = roi[4] * scale - offset - top;
  if (!shape.aligned) {
    width = std::max(width, 1.0F);
    height = std::max(height, 1.0F);
  }
  const float bin_height = height / static_cast<float>(shape.height);
  const float bin_width = width / static_cast<float>(shape.width);
  const auto many = [&](float bin) {
    return shape.sampling > 0 ? shape.sampling : static_cast<std::int64_t>(std::ceil(bin));
  };
  const std::int64_t down = many(bin_height), across = many(bin_width);
  samples.clear();
  for (std::int64_t i = 0; i < shape.height; ++i)
    for (std::int64_t j = 0; j < shape.width; ++j)
      for (std::int64_t a = 0; a < down; ++a) {
        const float y = top + static_cast<float>(i) * bin_height +
                        (static_cast<float>(a) + 0.5F) * bin_height / static_cast<float>(down);
        const auto rows = between(y, image_height);
        for (std::int64_t b = 0; b < across; ++b) {
          const float x = left + static_cast<float>(j) * bin_width +
                          (static_cast<float>(b) + 0.5F) * bin_width / static_cast<float>(across);
          const auto columns = between(x, image_width);
          Sample& sample = samples.emplace_back();
          if (!rows || !columns) continue;
          const auto& [y_low, y_high, ly] = *rows;
          const auto& [x_low, x_high, lx] = *columns;
          const float hy = 1.0F - ly, hx = 1.0F - lx;
          sample = {{y_low * image_width + x_low, y_low * image_width + x_high, y_high * image_width + x_low,
                     y_high * image_width + x_high},
                    {hy * hx, hy * lx, ly * hx, ly * lx}};
        }
      }
  return down * across;
}

void check_roi_align(const at::Tensor& input, const at::Tensor& rois) {
  TORCH_CHECK(input.dim() == 4 && rois.dim() == 2 && rois.size(1) == 5,
              "roi_align needs an input [N, C, H, W] and rois [K, 5]");
  TORCH_CHECK(input.scalar_type() == at::kFloat, "roi_align is there for float32");
}

/// Image of a region; its first value is the image's index.
std::int64_t image_of(const float* roi, std::int64_t images) {
  const auto image = static_cast<std::int64_t>(roi[0]);
  TORCH_CHECK(image >= 0 && image < images, "a roi's image ", image, " is not among ", images);
  return image;
}

/// Each bin is the mean of its samples, a sample the bilinear mix of four pixels (Mask R-CNN, arXiv
/// 1703.06870, section 3). Work: K * C * bins * samples * 4.
at::Tensor roi_align(const at::Tensor& input, const at::Tensor& rois, const RoiShape& shape) {
  check_roi_align(input, rois);
  const at::Tensor planes = input.contiguous(), regions = rois.to(at::kFloat).contiguous();
  const std::int64_t channels = planes.size(1), plane = planes.size(2) * planes.size(3);
  at::Tensor output = at::zeros({regions.size(0), channels, shape.height, shape.width}, planes.options());
  float* out = output.mutable_data_ptr<float>();
  std::vector<Sample> samples;
  for (std::int64_t k = 0; k < regions.size(0); ++k) {
    const float* roi = regions.const_data_ptr<float>() + 5 * k;
    const float* image = planes.const_data_ptr<float>() + image_of(roi, planes.size(0)) * channels * plane;
    const std::int64_t each = place_samples(roi, shape, planes.size(2), planes.size(3), samples);
    const auto share = static_cast<float>(std::max<std::int64_t>(each, 1));
    for (std::int64_t c = 0; c < channels; ++c, image += plane) {
      const Sample* sample = samples.data();
      for (std::int64_t bin = 0; bin < shape.height * shape.width; ++bin) {
        float sum = 0;
        for (std::int64_t s = 0; s < each; ++s, ++sample)
          sum += sample->weight[0] * image[sample->place[0]] + sample->weight[1] * image[sample->place[1]] +
                 sample->weight[2] * image[sample->place[2]] + sample->weight[3] * image[sample->place[3]];
        *out++ = sum / share;
      }
    }
  }
  return output;
}

/// d loss / d input: every pixel gets its weight of the gradient of each sample that it is mixed into.
at::Tensor roi_align_gradient(const at::Tensor& gradient, const at::Tensor& rois, const RoiShape& shape,
                              at::IntArrayRef input_sizes) {
  const at::Tensor plain = gradient.contiguous(), regions = rois.to(at::kFloat).contiguous();
  at::Tensor result = at::zeros(input_sizes, plain.options());
  const std::int64_t channels = input_sizes[1], plane = input_sizes[2] * input_sizes[3];
  const float* given = plain.const_data_ptr<float>();
  std::vector<Sample> samples;
  for (std::int64_t k = 0; k < regions.size(0); ++k) {
    const float* roi = regions.const_data_ptr<float>() + 5 * k;
    float* image = result.mutable_data_ptr<float>() + image_of(roi, input_sizes[0]) * channels * plane;
    const std::int64_t each = place_samples(roi, shape, input_sizes[2], input_sizes[3], samples);
    const auto share = static_cast<float>(std::max<std::int64_t>(each, 1));
    for (std::int64_t c = 0; c < channels; ++c, image += plane) {
      const Sample* sample = samples.data();
      for (std::int64_t bin = 0; bin < shape.height * shape.width; ++bin, ++given)
        for (std::int64_t s = 0; s < each; ++s, ++sample)
          for (int i = 0; i < 4; ++i) image[sample->place[i]] += *given / share * sample->weight[i];
    }
  }
  return result;
}

class RoiAlign : public torch::autograd::Function<RoiAlign> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& rois, double scale, std::int64_t height, std::int64_t width,
                            std::int64_t sampling, bool aligned) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({rois});
    context->saved_data["scale"] = scale;
    context->saved_data["shape"] = std::vector<std::int64_t>{height, width, sampling, aligned ? 1 : 0};
    context->saved_data["input"] = input.sizes().vec();
    return roi_align(input, rois, {scale, height, width, sampling, aligned});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto shape = context->saved_data["shape"].toIntVector();
    const at::Tensor gradient = roi_align_gradient(
        gradients[0], context->get_saved_variables()[0],
        {context->saved_data["scale"].toDouble(), shape[0], shape[1], shape[2], shape[3] != 0},
        context->saved_data["input"].toIntVector());
    return {gradient, {}, {}, {}, {}, {}, {}};
  }
};

at::Tensor roi_align_on_cpu(const at::Tensor& input, const at::Tensor& rois, double scale,
                            std::int64_t height, std::int64_t width, std::int64_t sampling, bool aligned) {
  return roi_align(input, rois, {scale, height, width, sampling, aligned});
}

at::Tensor roi_align_with_gradient(const at::Tensor& input, const at::Tensor& rois, double scale,
                                   std::int64_t height, std::int64_t width, std::int64_t sampling,
                                   bool aligned) {
  return RoiAlign::apply(input, rois, scale, height, width, sampling, aligned);
}

bool is_there(const char* name) {
  return c10::Dispatcher::singleton().findSchema({name, ""}).has_value();
}

/// The registrations, which last as long as the program.
std::vector<torch::Library> provide() {
  std::vector<torch::Library> libraries;
  const auto library = [&](torch::Library::Kind kind,
                           std::optional<c10::DispatchKey> key) -> torch::Library& {
    return libraries.emplace_back(kind, "torchvision", key, __FILE__, __LINE__);
  };
  if (!is_there("torchvision::nms")) {
    library(torch::Library::FRAGMENT, std::nullopt)
        .def("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor");
    library(torch::Library::IMPL, c10::DispatchKey::CPU).impl("nms", nms);
  }
  if (!is_there("torchvision::roi_align")) {
    library(torch::Library::FRAGMENT, std::nullopt)
        .def(
            "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt "
            "pooled_width, int sampling_ratio, bool aligned) -> Tensor");
    library(torch::Library::IMPL, c10::DispatchKey::CPU).impl("roi_align", roi_align_on_cpu);
    library(torch::Library::IMPL, c10::DispatchKey::AutogradCPU).impl("roi_align", roi_align_with_gradient);
  }
  return libraries;
}

}  // namespace

void provide_detection_operators() {
  static const std::vector<torch::Library> libraries = provide();
  static_cast<void>(libraries);
}

}  // namespace bitfall
