#include "collected.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bitfall/calibration.hpp"
#include "bitfall/errors.hpp"
#include "io/files/bounded_json.hpp"
#include "io/files/file.hpp"

namespace bitfall {

std::int64_t gram_width(const Layer& layer) {
  const std::int64_t kernel = layer.kernel_elements();
  std::int64_t width = kernel > 1 ? 4 * kernel : 16;
  while (width > 1 && layer.columns() % width != 0) width = width % 2 == 0 ? width / 2 : 1;
  return width;
}

namespace {

/// What quantize reads of the description.
bool has_texts(const nlohmann::json& description) {
  const auto is_text = [&](const char* key) {
    return description.contains(key) && description.at(key).is_string();
  };
  return description.is_object() && is_text("model") && is_text("data");
}

/// Blocks of float64 on the diagonal of a D x D matrix. The seal says only that the file is as it was
/// written.
bool are_blocks(const KeptTensor& tensor, std::int64_t columns) {
  if (tensor.stored_dtype != "float64" || tensor.shape.size() != 3) return false;
  const std::int64_t width = tensor.shape[1];
  return width >= 1 && width <= columns && columns % width == 0 && tensor.shape[2] == width &&
         tensor.shape[0] == columns / width &&
         tensor.bytes.size() == sizeof(double) * static_cast<std::size_t>(columns * width);
}

}  // namespace

void write_collected(const Collected& collected, const std::string& path, const JobContext& context) {
  context.communicator.guarded("writing " + path, [&] {
    if (!context.communicator.is_root()) return;
    Archive archive;
    archive.kept = collected.grams;
    archive.plan_json = nlohmann::json{{"collected", collected.description}}.dump();
    archive.provenance_json = "{}";
    write_archive(archive, path);
  });
}

Collected read_collected(const std::string& path, const std::string& model_sha256,
                         const JobContext& context) {
  std::string bytes;
  context.communicator.guarded("reading " + path, [&] {
    if (context.communicator.is_root()) bytes = read_file(path);
  });
  context.communicator.broadcast(bytes);
  Collected collected;
  context.communicator.guarded("reading " + path, [&] {
    Archive archive = parse_archive(bytes, path);
    const nlohmann::json state = parse_bounded_json(archive.plan_json);
    if (!state.is_object() || !state.contains("collected") || !has_texts(state.at("collected")))
      throw DataError(path + " is not what 'bitfall collect' writes");
    collected.description = state.at("collected");
    collected.grams = std::move(archive.kept);
    if (collected.description.at("model") != model_sha256) {
      throw DataError(path + " was collected from another network (SHA-256 " +
                      collected.description.at("model").get<std::string>() + ", not " + model_sha256 +
                      "); collect again");
    }
  });
  return collected;
}

LayerMoments moments_of(const Collected& collected, const LayerPlan& planned) {
  const Layer& layer = planned.layer;
  const std::int64_t d = planned.d;
  if (planned.metric == Metric::euclidean) return {};
  if (planned.metric == Metric::full) {
    throw UsageError("layer '" + layer.name +
                     "': the metric full needs whole Gram matrices, which 'collect' does not keep; use "
                     "'bitfall compress', or --metric blockwise");
  }
  const auto found = std::find_if(collected.grams.begin(), collected.grams.end(),
                                  [&](const KeptTensor& tensor) { return tensor.name == layer.name; });
  if (found == collected.grams.end() || !are_blocks(*found, layer.columns()))
    throw DataError("layer '" + layer.name + "' was not collected, or not for this network; collect again");
  const std::int64_t width = found->shape[1];
  if (width % d != 0) {
    throw DataError("layer '" + layer.name + "' was collected in blocks of " + std::to_string(width) +
                    ", which d = " + std::to_string(d) + " does not divide");
  }
  std::vector<double> blocks(found->bytes.size() / sizeof(double));
  std::memcpy(blocks.data(), found->bytes.data(), found->bytes.size());
  if (!std::all_of(blocks.begin(), blocks.end(), [](double x) { return std::isfinite(x); }))
    throw DataError("layer '" + layer.name + "': what was collected is NaN or infinite; collect again");
  LayerMoments moments;  // the d x d blocks on the diagonal of each kept block, in order
  for (std::int64_t block = 0; block < found->shape[0]; ++block) {
    for (std::int64_t first = 0; first < width; first += d) {
      for (std::int64_t i = 0; i < d; ++i) {
        const double* row = blocks.data() + (block * width + first + i) * width + first;
        moments.per_position.insert(moments.per_position.end(), row, row + d);
      }
    }
  }
  moments.pooled = sum_positions(moments.per_position, d);
  return moments;
}

}  // namespace bitfall
