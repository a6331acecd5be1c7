#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include <nlohmann/json.hpp>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "bitfall/random.hpp"
#include "file.hpp"
#include "shard_entries.hpp"
#include "shard_index.hpp"

namespace bitfall {

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  } catch (const fs::filesystem_error& error) {
    throw MissingInputError("cannot read the folder " + folder.string() + ": " + error.code().message());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool has_jpeg_name(const fs::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg";
}

std::vector<std::uint8_t> read_jpeg_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) throw MissingInputError("cannot read the image " + path.string());
  if (bytes.size() < 3 || bytes[0] != 0xFF || bytes[1] != 0xD8 || bytes[2] != 0xFF) {
    throw DataError(path.string() + " is not a JPEG file; convert or remove it");
  }
  return bytes;
}

fs::path shard_path(const std::string& prefix, std::int64_t index) {
  char number[32];
  std::snprintf(number, sizeof number, "-%04lld.tar", static_cast<long long>(index));
  return prefix + number;
}

/// A tar in memory: ustar, with nothing in its headers that depends on the day or the user.
class TarWriter {
 public:
  TarWriter() : writer_(archive_write_new(), archive_write_free) {
    archive_write_set_format_pax_restricted(writer_.get());
    archive_write_set_bytes_in_last_block(writer_.get(), 1);
    check(archive_write_open(writer_.get(), &bytes_, nullptr, append, nullptr));
  }
  void add(const std::string& name, const void* data, std::size_t size) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 0, 0);
    check(archive_write_header(writer_.get(), entry.get()));
    if (archive_write_data(writer_.get(), data, size) != static_cast<la_ssize_t>(size)) check(ARCHIVE_FATAL);
  }
  [[nodiscard]] std::string finish() {
    check(archive_write_close(writer_.get()));
    return std::move(bytes_);
  }

 private:
  static la_ssize_t append(archive*, void* target, const void* data, std::size_t size) {
    static_cast<std::string*>(target)->append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  }
  void check(int status) {
    if (status != ARCHIVE_OK)
      throw InternalError(std::string("writing a tar: ") + archive_error_string(writer_.get()));
  }

  std::string bytes_;
  std::unique_ptr<archive, int (*)(archive*)> writer_;
};

void add_class(PackPlan& plan, std::vector<PackPlan::Entry>& entries, const fs::path& folder) {
  const auto label = static_cast<std::int32_t>(plan.classes.size());
  plan.classes.push_back(folder.filename().string());
  for (const fs::path& file : sorted_entries(folder)) {
    if (fs::is_directory(file))
      throw DataError("'" + file.string() +
                      "' is a folder, and a class has only images: FOLDER/CLASS/NAME.jpg");
    if (!has_jpeg_name(file)) throw DataError(file.string() + " is no .jpg or .jpeg; convert or remove it");
    entries.push_back({file, label, ""});
  }
}

void add_images_without_class(std::vector<PackPlan::Entry>& entries, const fs::path& folder) {
  for (const fs::path& file : sorted_entries(folder))
    if (has_jpeg_name(file)) entries.push_back({file, 0, ""});
}

/// Readers take a sample's key to end at the first dot (docs/shards.md).
void use_names_as_keys(std::vector<PackPlan::Entry>& entries) {
  std::map<std::string, fs::path> known;
  for (PackPlan::Entry& entry : entries) {
    const std::string name = entry.file.filename().string();
    entry.key = name.substr(0, name.find('.'));
    if (entry.key.empty()) throw DataError(entry.file.string() + " has no name before its first dot");
    const auto [place, is_new] = known.emplace(entry.key, entry.file);
    if (!is_new) {
      throw DataError(entry.file.string() + " and " + place->second.string() +
                      " have the same name; rename one, or pack without --keep-names");
    }
  }
}

/// PREFIX-0005.tar of an earlier set of six would be matched by PREFIX-*.tar beside a new set of five.
void refuse_leftovers(const std::string& prefix, std::int64_t shards) {
  const fs::path leftover = shard_path(prefix, shards);
  if (!fs::exists(leftover)) return;
  throw UsageError(leftover.string() + " is left from an earlier set, and the new one has only " +
                   std::to_string(shards) + " shards; remove the old ones or choose another --output");
}

}  // namespace

PackPlan plan_pack(const PackParameters& parameters) {
  if (!fs::is_directory(parameters.folder)) {
    throw MissingInputError("the image folder '" + parameters.folder.string() +
                            "' does not exist or is no folder");
  }
  PackPlan plan;
  std::vector<PackPlan::Entry> entries;
  for (const fs::path& folder : sorted_entries(parameters.folder)) {
    if (fs::is_directory(folder)) add_class(plan, entries, folder);
  }
  if (plan.classes.empty()) add_images_without_class(entries, parameters.folder);
  if (entries.empty()) {
    throw DataError("no images in '" + parameters.folder.string() +
                    "': it must hold CLASS/NAME.jpg or NAME.jpg");
  }
  if (parameters.keep_names) use_names_as_keys(entries);
  // A seeded shuffle (Fisher-Yates), so that the first shards are a fair sample of the set.
  for (std::size_t i = entries.size() - 1; i > 0; --i) {
    std::swap(entries[i], entries[random_below(parameters.seed, random_stream::pack_order, i, i + 1)]);
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    char key[32];
    std::snprintf(key, sizeof key, "%08zu", i);
    if (!parameters.keep_names) entries[i].key = key;
    if (i % static_cast<std::size_t>(parameters.samples_per_shard) == 0) plan.shards.emplace_back();
    plan.shards.back().push_back(std::move(entries[i]));
  }
  refuse_leftovers(parameters.prefix, static_cast<std::int64_t>(plan.shards.size()));
  return plan;
}

void write_class_list(const PackParameters& parameters, const PackPlan& plan) {
  write_file_atomically(parameters.prefix + "-classes.json", nlohmann::json(plan.classes).dump(1) + "\n");
}

void write_shard(const PackParameters& parameters, const PackPlan& plan, std::int64_t index) {
  TarWriter tar;
  for (const PackPlan::Entry& entry : plan.shards.at(static_cast<std::size_t>(index))) {
    const auto image = read_jpeg_file(entry.file);
    const std::string label = std::to_string(entry.label);
    tar.add(entry.key + ".jpg", image.data(), image.size());
    tar.add(entry.key + ".cls", label.data(), label.size());
  }
  // The old index goes first: whatever ends this job, no index lies beside a shard that it was not made for.
  const fs::path path = shard_path(parameters.prefix, index);
  std::error_code ignored;
  fs::remove(index_path(path), ignored);
  write_file_atomically(path, tar.finish());
  const ShardFile file(path);
  write_file_atomically(index_path(path), index_text(file, scan_shard(file)));
}

}  // namespace bitfall
