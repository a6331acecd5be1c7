#include <glob.h>

#include <algorithm>
#include <memory>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"
#include "sha256.hpp"
#include "shard_entries.hpp"
#include "shard_file.hpp"
#include "shard_index.hpp"

namespace bitfall {

namespace {

/// The files that match, sorted by name. The index files of the shards are left out, so that `PREFIX-*`
/// works.
std::vector<std::filesystem::path> find_shards(const std::string& pattern) {
  std::vector<std::filesystem::path> paths;
  glob_t matches{};
  if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    for (std::size_t i = 0; i < matches.gl_pathc; ++i) {
      std::filesystem::path path = matches.gl_pathv[i];
      if (path.extension() != ".idx") paths.push_back(std::move(path));
    }
  }
  globfree(&matches);
  if (paths.empty())
    throw MissingInputError("no shard matches '" + pattern + "' (quote the pattern in the shell)");
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

struct ShardSet::Files {
  std::vector<std::unique_ptr<ShardFile>> open;
  std::vector<std::uint64_t> image_headers;  ///< of each sample
};

ShardSet::ShardSet() : files_(std::make_unique<Files>()), bad_(std::make_unique<BadImages>(0)) {}
ShardSet::ShardSet(ShardSet&&) noexcept = default;
ShardSet& ShardSet::operator=(ShardSet&&) noexcept = default;
ShardSet::~ShardSet() = default;

ShardSet ShardSet::open(const std::string& pattern) {
  ShardSet set;
  set.paths_ = find_shards(pattern);
  std::string problem, first_problem;
  std::size_t problems = 0;
  for (const auto& path : set.paths_) {
    const auto number = static_cast<std::int32_t>(set.files_->open.size());
    const ShardFile& file = *set.files_->open.emplace_back(std::make_unique<ShardFile>(path));
    problem.clear();
    auto entries = load_index(file, problem);
    if (!problem.empty() && problems++ == 0) first_problem = problem;
    if (entries)
      ++set.indexed_;
    else
      entries = scan_shard(file);
    for (ShardEntry& entry : *entries) {
      entry.sample.shard = number;
      set.files_->image_headers.push_back(entry.image_header);
      set.samples_.push_back(std::move(entry.sample));
    }
  }
  if (problems != 0) {
    set.warning_ = first_problem + (problems > 1 ? " (and " + std::to_string(problems - 1) + " more)" : "") +
                   "; the shard is read through instead. Run `bitfall pack` again, or delete the .idx";
  }
  return set;
}

std::vector<std::uint8_t> ShardSet::read(std::int64_t index) const {
  const auto i = static_cast<std::size_t>(index);
  const Sample& sample = samples_.at(i);
  return read_image(*files_->open.at(static_cast<std::size_t>(sample.shard)), sample,
                    files_->image_headers.at(i));
}

std::string ShardSet::name_of(std::int64_t index) const {
  const Sample& sample = samples_.at(static_cast<std::size_t>(index));
  return paths_.at(static_cast<std::size_t>(sample.shard)).string() + ": " + sample.key + ".jpg";
}

void ShardSet::allow_bad_images(std::int64_t most) {
  bad_ = std::make_unique<BadImages>(most);
}

void BadImages::note(std::int64_t sample, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  noted_.insert(sample);
  if (static_cast<std::int64_t>(noted_.size()) <= most_) return;
  throw DataError(reason + (most_ == 0 ? ""
                                       : "; with the ones before it there are more than --max-bad-images " +
                                             std::to_string(most_)));
}

std::vector<std::int64_t> BadImages::samples() const {
  const std::lock_guard lock(mutex_);
  return {noted_.begin(), noted_.end()};
}

std::string ShardSet::fingerprint() const {
  Sha256 sum;
  for (const Sample& sample : samples_) {
    sum.add(std::string_view(sample.key + '\0' + std::to_string(sample.label) + ' ' +
                             std::to_string(sample.bytes) + '\n'));
  }
  return to_hex(sum.finish());
}

}  // namespace bitfall
