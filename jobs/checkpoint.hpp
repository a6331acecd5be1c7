#pragma once
/// The state of a job between two steps, on disk.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/quantized_layer.hpp"
#include "job.hpp"

namespace bitfall {

/// What a job needs to go on as if it had never stopped.
struct Checkpoint {
  std::string stage;        ///< the job's word for where it is
  nlohmann::json progress;  ///< small state: iteration, layer, ...
  std::vector<QuantizedLayer> layers;
  std::vector<KeptTensor> tensors;  ///< arrays, by name
};

/// The checkpoint that a sound file holds. Throws DataError when its state is not one, UsageError when the
/// file is an archive or the first field of the fingerprint that differs.
[[nodiscard]] Checkpoint decode_checkpoint(Archive&& archive, const nlohmann::json& fingerprint,
                                           const std::string& file);

/// A run file: the newest checkpoint under its name, the one before as NAME.previous. Its format is the
/// archive's (sealed, verified as it is written, replaced atomically) with the state in the plan's place.
class RunFile {
 public:
  /// `fingerprint`: what must be the same for a run to go on: field -> value. An empty path: no checkpoints.
  RunFile(std::string path, nlohmann::json fingerprint, JobContext& context);

  [[nodiscard]] bool exists() const { return !path_.empty(); }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Collective; rank 0 writes. Throws IoError; then the checkpoints before are what they were.
  void save(const Checkpoint& checkpoint);
  /// `resume`: auto (the newest valid one, none if there is none), no, or a file (collective). A damaged one
  /// is a warning under auto. Throws UsageError naming the first field of the fingerprint that differs, or
  /// when the file is an archive.
  [[nodiscard]] std::optional<Checkpoint> load(const std::string& resume);
  /// The job is done: its checkpoints are not needed any more (collective).
  void remove() const;

 private:
  [[nodiscard]] std::string newest(const std::vector<std::string>& candidates, bool must_be_there);
  [[nodiscard]] std::string previous() const { return path_ + ".previous"; }

  std::string path_;
  nlohmann::json fingerprint_;
  JobContext& context_;
  bool newest_is_damaged_ = false;  ///< as load() found it; on rank 0
};

/// A number >= 0 of the progress. Throws DataError when it is not there.
[[nodiscard]] std::int64_t number_in(const Checkpoint& checkpoint, const std::string& name);

/// float32 values as a named array, and back. `take` throws DataError when `name` is missing or not of
/// `size`.
[[nodiscard]] KeptTensor as_array(const std::string& name, std::span<const float> values);
[[nodiscard]] std::vector<float> take_array(const std::vector<KeptTensor>& tensors, const std::string& name,
                                            std::size_t size);
/// The same with float64.
[[nodiscard]] KeptTensor as_array(const std::string& name, std::span<const double> values);
[[nodiscard]] std::vector<double> take_doubles(const std::vector<KeptTensor>& tensors,
                                               const std::string& name, std::size_t size);

}  // namespace bitfall
