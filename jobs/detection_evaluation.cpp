#include "detection_evaluation.hpp"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "bitfall/errors.hpp"
#include "inputs.hpp"
#include "io/files/file.hpp"
#include "io/files/temporary_file.hpp"
#include "output_path.hpp"
#include "run_python.hpp"
#include "src/model/detections.hpp"
#include "src/parallel/threads.hpp"

namespace bitfall {

namespace {

/// COCO's run lengths of a mask, by columns, beginning with those outside: probabilities above one half are
/// inside, as torchvision's users take them.
nlohmann::json run_lengths(const float* mask, std::int64_t height, std::int64_t width) {
  std::vector<std::int64_t> counts = {0};
  bool inside = false;
  for (std::int64_t x = 0; x < width; ++x)
    for (std::int64_t y = 0; y < height; ++y) {
      if ((mask[y * width + x] > 0.5F) != inside) {
        counts.push_back(0);
        inside = !inside;
      }
      ++counts.back();
    }
  return {{"size", {height, width}}, {"counts", std::move(counts)}};
}

/// Detections with at least this score, in COCO's result format but for the image's id.
nlohmann::json entries(const Detections& found, double least_score) {
  nlohmann::json list = nlohmann::json::array();
  for (std::int64_t i = 0; i < found.scores.size(0); ++i) {
    const float* box = found.boxes.const_data_ptr<float>() + 4 * i;
    const float score = found.scores.const_data_ptr<float>()[i];
    if (score < least_score) continue;
    nlohmann::json entry = {{"category_id", found.labels.const_data_ptr<std::int64_t>()[i]},
                            {"score", score},
                            {"bbox", {box[0], box[1], box[2] - box[0], box[3] - box[1]}}};
    if (found.masks.defined()) {
      const std::int64_t height = found.masks.size(2), width = found.masks.size(3);
      entry["segmentation"] =
          run_lengths(found.masks.const_data_ptr<float>() + i * height * width, height, width);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

/// Keys of samples need not be UTF-8.
std::string text_of(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class DetectionRun {
 public:
  explicit DetectionRun(const DetectionSetting& setting) : setting_(setting) {}

  nlohmann::json run() {
    const JobContext& context = setting_.context;
    context.communicator.guarded("detecting", [&] { detect(); });
    agree_on_bad_images(setting_.shards, context);
    // In sample order, whatever the number of ranks.
    nlohmann::json images = nlohmann::json::array();
    for (const std::string& part : context.communicator.all_gather(text_of(images_))) {
      for (nlohmann::json& image : nlohmann::json::parse(part)) images.push_back(std::move(image));
    }
    std::string result;
    context.communicator.guarded("counting detections", [&] {
      if (context.communicator.is_root()) result = count(images);
    });
    context.communicator.broadcast(result);
    return nlohmann::json::parse(result);
  }

 private:
  void detect() {
    BatchLoader loader(setting_.shards, setting_.preprocessing, setting_.batches, setting_.context.threads);
    for (;;) {
      std::vector<Batch> batches = next_batches(loader, setting_.context.threads);
      if (batches.empty()) return;
      std::vector<nlohmann::json> parts(batches.size());
      parallel_for(static_cast<std::int64_t>(batches.size()), setting_.context.threads, [&](std::int64_t i) {
        const auto slot = static_cast<std::size_t>(i);
        parts[slot] = detect_batch(std::move(batches[slot]));
      });
      for (nlohmann::json& part : parts)
        for (nlohmann::json& image : part) images_.push_back(std::move(image));
    }
  }

  [[nodiscard]] nlohmann::json detect_batch(Batch&& batch) const {
    const c10::AutoGradMode no_gradients(false);
    const std::vector<std::int64_t> samples = batch.indices, replaced = batch.replaced;
    const at::Tensor input = to_tensor(std::move(batch));
    std::vector<Detections> wanted;
    if (setting_.teacher != nullptr) wanted = detections_of(setting_.teacher->run(input.clone()));
    const std::vector<Detections> found = detections_of(setting_.network.run(input));
    nlohmann::json images = nlohmann::json::array();
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (std::find(replaced.begin(), replaced.end(), static_cast<std::int64_t>(i)) != replaced.end())
        continue;
      nlohmann::json image = {
          {"id", samples[i]},
          {"name", setting_.shards.samples().at(static_cast<std::size_t>(samples[i])).key},
          {"height", input.size(2)},
          {"width", input.size(3)},
          {"found", entries(found[i], 0)}};
      if (setting_.teacher != nullptr)
        image["wanted"] = entries(wanted.at(i), setting_.options.teacher_score);
      images.push_back(std::move(image));
    }
    return images;
  }

  [[nodiscard]] std::string count(const nlohmann::json& images) const {
    const TemporaryFile detections, counted;
    write_file_atomically(detections.path(), text_of({{"images", images}}));
    std::vector<std::string> arguments = {detections.path(), counted.path()};
    if (!setting_.options.annotations.empty())
      arguments.insert(arguments.end(), {"--annotations", setting_.options.annotations});
    if (!setting_.options.saved.empty())
      arguments.insert(arguments.end(), {"--save", setting_.options.saved});
    run_python("bitfall_average_precision.py", arguments);
    return read_file(counted.path());
  }

  const DetectionSetting& setting_;
  nlohmann::json images_ = nlohmann::json::array();  ///< of this rank
};

}  // namespace

void add_detection_options(CLI::App& job, DetectionOptions& options) {
  job.add_option("--annotations", options.annotations,
                 "of a detector: COCO's json of the images, found by their keys (default: the teacher's "
                 "detections are the truth)");
  job.add_option("--teacher-score", options.teacher_score,
                 "of a detector: the teacher's detections with at least this score are the truth")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  job.add_option("--save-detections", options.saved,
                 "of a detector: write what it finds to this file, in COCO's result format");
}

std::string describe_precision(const nlohmann::json& counted) {
  std::string text;
  for (const char* kind : {"box", "mask"}) {
    if (!counted.contains(kind)) continue;
    text += (text.empty() ? "" : "; ") + std::string(kind);
    for (const char* name : {"AP", "AP50", "AP75"}) {
      const nlohmann::json& value = counted.at(kind).at(name);
      char shown[40];
      if (value.is_null())
        std::snprintf(shown, sizeof shown, " %s none", name);
      else
        std::snprintf(shown, sizeof shown, " %s %.2f", name, value.get<double>());
      text += shown;
    }
  }
  return text + " on " + std::to_string(counted.at("images").get<std::int64_t>()) + " images";
}

nlohmann::json evaluate_detections(const DetectionSetting& setting) {
  if (setting.teacher == nullptr && setting.options.annotations.empty()) {
    throw UsageError("a detector is evaluated against --annotations or against a --teacher");
  }
  const ClaimedOutput claim = setting.options.saved.empty()
                                  ? ClaimedOutput()
                                  : claim_output(setting.options.saved, setting.context.communicator);
  return DetectionRun(setting).run();
}

}  // namespace bitfall
