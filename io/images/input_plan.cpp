#include "input_plan.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "augment.hpp"
#include "bitfall/errors.hpp"

namespace bitfall {

namespace {

/// torchvision's centre crop: int(round((size - crop) / 2)), Python's round going to the even neighbour.
std::int64_t crop_offset(std::int64_t size, std::int64_t crop) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(size - crop) / 2.0));
}

/// torchvision's Resize(short side): the other side is int(resize * long / short).
std::array<std::int64_t, 2> resized(std::int64_t width, std::int64_t height, std::int64_t resize) {
  if (resize == 0) return {width, height};
  const std::int64_t other = resize * std::max(width, height) / std::min(width, height);
  return width <= height ? std::array{resize, other} : std::array{other, resize};
}

InputPlan plan_evaluation(std::int64_t image_width, std::int64_t image_height,
                          const Preprocessing& preprocessing) {
  const auto [width, height] = resized(image_width, image_height, preprocessing.resize);
  const auto [across, down] = input_size(image_width, image_height, preprocessing);
  if (width < across || height < down) {
    throw DataError("an image of " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels is smaller than the crop of " + std::to_string(preprocessing.crop) +
                    "; choose another --preprocess");
  }
  const std::int64_t left = crop_offset(width, across), top = crop_offset(height, down);
  return {{0, 0, image_width, image_height}, width, height, {left, top, left + across, top + down}, false};
}

/// All pixels of `frame`, black where the part has none.
ImagePart in_frame(const ImagePart& part, const Window& frame, std::vector<std::uint8_t>& memory) {
  memory.assign(static_cast<std::size_t>(3 * frame.width() * frame.height()), 0);
  const Window& there = part.window;
  const std::int64_t left = std::max(frame.left, there.left), right = std::min(frame.right, there.right);
  for (std::int64_t y = std::max(frame.top, there.top); y < std::min(frame.bottom, there.bottom); ++y)
    std::copy_n(part.at(left, y), 3 * std::max<std::int64_t>(right - left, 0),
                memory.data() + 3 * ((y - frame.top) * frame.width() + left - frame.left));
  return {frame, memory.data()};
}

}  // namespace

std::array<std::int64_t, 2> input_size(std::int64_t width, std::int64_t height,
                                       const Preprocessing& preprocessing) {
  if (preprocessing.crop > 0) return {preprocessing.crop, preprocessing.crop};
  return resized(width, height, preprocessing.resize);
}

InputPlan plan_input(std::int64_t width, std::int64_t height, const Preprocessing& preprocessing,
                     const Augmentation& augmentation, std::int64_t index) {
  if (augmentation.kind == AugmentationKind::none) return plan_evaluation(width, height, preprocessing);
  const AugmentationChoice choice = choose_augmentation(width, height, preprocessing, augmentation, index);
  const std::int64_t crop = preprocessing.crop;  // a shifted window has this size already
  return {choice.window, crop, crop, {0, 0, crop, crop}, choice.flip};
}

Window InputPlan::needed(std::int64_t image_width, std::int64_t image_height) const {
  const Window source = resize().source();
  return {std::max<std::int64_t>(source.left + frame.left, 0),
          std::max<std::int64_t>(source.top + frame.top, 0), std::min(source.right + frame.left, image_width),
          std::min(source.bottom + frame.top, image_height)};
}

void make_input(const ImagePart& part, const InputPlan& plan, const Normaliser& normaliser,
                InputMemory& memory, std::span<float> out) {
  const Window& frame = plan.frame;
  Window source = plan.resize().source();
  source = {source.left + frame.left, source.top + frame.top, source.right + frame.left,
            source.bottom + frame.top};
  ImagePart framed = part.window.contains(source) ? part : in_frame(part, frame, memory.framed);
  Window& window = framed.window;  // from here on it counts from the frame's corner
  window = {window.left - frame.left, window.top - frame.top, window.right - frame.left,
            window.bottom - frame.top};
  normaliser.write(resize_part(framed, plan.resize(), memory.resize), plan.window, plan.flip, out);
}

}  // namespace bitfall
