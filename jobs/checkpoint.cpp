#include "checkpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "bitfall/errors.hpp"
#include "io/files/bounded_json.hpp"
#include "io/files/disk.hpp"
#include "io/files/file.hpp"

namespace bitfall {

namespace {

/// The state in a sound file. An archive is refused, not passed over: going on would write over it.
nlohmann::json state_of(const Archive& archive, const std::string& file) {
  const nlohmann::json state = parse_bounded_json(archive.plan_json);
  if (!state.is_object() || !state.contains("checkpoint"))
    throw UsageError(file + " is an archive, not a checkpoint; give another --run-file");
  const auto has = [&](const char* key, bool (nlohmann::json::*is)() const noexcept) {
    return state.contains(key) && (state.at(key).*is)();
  };
  if (!has("stage", &nlohmann::json::is_string) || !has("progress", &nlohmann::json::is_object) ||
      !has("fingerprint", &nlohmann::json::is_object))
    throw DataError(file + ": the state of this checkpoint lacks its stage, progress or fingerprint");
  return state;
}

void require_same(const nlohmann::json& expected, const nlohmann::json& found, const std::string& file) {
  for (const auto& [field, value] : expected.items()) {
    if (found.contains(field) && found.at(field) == value) continue;
    throw UsageError("the checkpoint " + file + " belongs to another run: its '" + field + "' is " +
                     (found.contains(field) ? found.at(field).dump() : "not known") + ", here it is " +
                     value.dump() +
                     "; give the same options, another --run-file, or --resume no to begin anew");
  }
}

[[noreturn]] void fail(const std::string& action, const std::string& file) {
  throw IoError("cannot write the checkpoint: " + action + " '" + file + "': " + std::strerror(errno));
}

template <class T>
KeptTensor make_array(const std::string& name, const std::string& dtype, std::span<const T> values) {
  KeptTensor tensor{name, dtype, {static_cast<std::int64_t>(values.size())}, dtype, {}};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  tensor.bytes.assign(bytes, bytes + values.size_bytes());
  return tensor;
}

template <class T>
std::vector<T> read_array(const std::vector<KeptTensor>& tensors, const std::string& name,
                          const std::string& dtype, std::size_t size) {
  for (const KeptTensor& tensor : tensors) {
    if (tensor.name != name) continue;
    if (tensor.stored_dtype != dtype || tensor.bytes.size() != size * sizeof(T)) break;
    std::vector<T> values(size);
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    if (!std::all_of(values.begin(), values.end(), [](T x) { return std::isfinite(x); }))
      throw DataError("the checkpoint's array '" + name +
                      "' has NaN or infinity; begin anew with --resume no");
    return values;
  }
  throw DataError("the checkpoint has no array '" + name + "' of " + std::to_string(size) + " values");
}

}  // namespace

Checkpoint decode_checkpoint(Archive&& archive, const nlohmann::json& fingerprint, const std::string& file) {
  const nlohmann::json state = state_of(archive, file);
  require_same(fingerprint, state.at("fingerprint"), file);
  return {state.at("stage"), state.at("progress"), std::move(archive.layers), std::move(archive.kept)};
}

RunFile::RunFile(std::string path, nlohmann::json fingerprint, JobContext& context)
    : path_(std::move(path)), fingerprint_(std::move(fingerprint)), context_(context) {}

void RunFile::save(const Checkpoint& checkpoint) {
  if (!exists()) return;
  context_.communicator.guarded("writing the checkpoint " + path_, [&] {
    if (!context_.communicator.is_root()) return;
    Archive archive;
    archive.layers = checkpoint.layers;
    archive.kept = checkpoint.tensors;
    archive.plan_json = nlohmann::json{{"checkpoint", 1},
                                       {"fingerprint", fingerprint_},
                                       {"stage", checkpoint.stage},
                                       {"progress", checkpoint.progress}}
                            .dump();
    archive.provenance_json = "{}";
    // Complete under a third name first: at every moment one whole checkpoint has a name that load() reads.
    const std::string fresh = path_ + ".new";
    write_archive(archive, fresh);
    Disk& disk = Disk::current();
    // A damaged one is replaced: it must not take the place of the good one before it.
    if (!newest_is_damaged_ && disk.rename(path_, previous()) != 0 && errno != ENOENT)
      fail("renaming", path_);
    newest_is_damaged_ = false;
    if (disk.rename(fresh, path_) != 0) fail("renaming", fresh);
    if (disk.sync_folder(folder_of(path_)) != 0) fail("fsync of the folder of", path_);
  });
  context_.reporter.event("checkpoint",
                          {{"file", path_}, {"stage", checkpoint.stage}, {"progress", checkpoint.progress}});
}

/// The first candidate that can be read, with this run's fingerprint; "" when there is none.
std::string RunFile::newest(const std::vector<std::string>& candidates, bool must_be_there) {
  for (const std::string& file : candidates) {
    if (!must_be_there && !std::filesystem::exists(file)) continue;
    std::string bytes = read_file(file);
    try {
      (void)decode_checkpoint(parse_archive(bytes, file), fingerprint_, file);
    } catch (const DataError& error) {
      if (must_be_there) throw;
      if (file == path_) newest_is_damaged_ = true;
      context_.reporter.warning("a checkpoint can't be used, the one before is tried: " +
                                std::string(error.what()));
      continue;
    }
    return bytes;
  }
  return "";
}

std::optional<Checkpoint> RunFile::load(const std::string& resume) {
  if (resume == "no" || !exists()) return std::nullopt;
  std::string bytes;
  const bool automatic = resume == "auto";
  context_.communicator.guarded("reading the checkpoint", [&] {
    if (!context_.communicator.is_root()) return;
    // The third name is left when a run was killed between two renames. It is complete or not there, and
    // newer.
    bytes = automatic ? newest({path_ + ".new", path_, previous()}, false) : newest({resume}, true);
  });
  context_.communicator.broadcast(bytes);
  if (bytes.empty()) return std::nullopt;
  std::optional<Checkpoint> checkpoint;
  context_.communicator.guarded("reading the checkpoint", [&] {
    checkpoint = decode_checkpoint(parse_archive(bytes, path_), fingerprint_, path_);
  });
  context_.reporter.info("going on from a checkpoint: stage " + checkpoint->stage + ", " +
                         checkpoint->progress.dump());
  context_.reporter.event("resumed", {{"stage", checkpoint->stage}, {"progress", checkpoint->progress}});
  return checkpoint;
}

void RunFile::remove() const {
  if (!exists()) return;
  context_.communicator.guarded("removing the checkpoints " + path_, [&] {
    if (!context_.communicator.is_root()) return;
    for (const std::string& file : {path_, previous(), path_ + ".new"}) {
      (void)Disk::current().remove(file);  // a checkpoint too many does no harm
    }
  });
}

std::int64_t number_in(const Checkpoint& checkpoint, const std::string& name) {
  const auto found = checkpoint.progress.find(name);
  if (found != checkpoint.progress.end() && found->is_number_integer() && found->get<std::int64_t>() >= 0)
    return found->get<std::int64_t>();
  throw DataError("the checkpoint has no number '" + name + "' in its progress; begin anew with --resume no");
}

KeptTensor as_array(const std::string& name, std::span<const float> values) {
  return make_array(name, "float32", values);
}
KeptTensor as_array(const std::string& name, std::span<const double> values) {
  return make_array(name, "float64", values);
}
std::vector<float> take_array(const std::vector<KeptTensor>& tensors, const std::string& name,
                              std::size_t size) {
  return read_array<float>(tensors, name, "float32", size);
}
std::vector<double> take_doubles(const std::vector<KeptTensor>& tensors, const std::string& name,
                                 std::size_t size) {
  return read_array<double>(tensors, name, "float64", size);
}

}  // namespace bitfall
