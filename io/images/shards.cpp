#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glob.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <set>

#include "bitfall/errors.hpp"
#include "bitfall/images.hpp"

namespace bitfall {

namespace {

constexpr std::int64_t block = 512;  ///< of a tar

/// An open shard.
class File {
 public:
  explicit File(const std::filesystem::path& path)
      : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0)
      throw MissingInputError("cannot open the shard " + path.string() + ": " + std::strerror(errno));
    struct stat status {};
    if (fstat(descriptor_, &status) == 0) bytes_ = status.st_size;
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] std::vector<std::uint8_t> read(std::int64_t offset, std::int64_t count) const {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
    std::int64_t done = 0;
    while (done < count) {
      const ssize_t got =
          pread(descriptor_, bytes.data() + done, static_cast<std::size_t>(count - done), offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw DataError(path_.string() + ": " +
                        (got == 0 ? "the file ends early (truncated?)" : std::strerror(errno)));
      }
      done += got;
    }
    return bytes;
  }
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::int64_t bytes_ = 0;
};

/// A regular file inside a tar.
struct Member {
  std::string name;
  std::int64_t offset = 0, bytes = 0;
};

/// Where the data of the entry whose headers begin at `position` lie: after the extended headers (pax x and
/// g, GNU L and K), each with its own data, and the entry's own header.
std::int64_t data_offset(const File& file, std::int64_t position) {
  for (;;) {
    const auto header = file.read(position, block);
    const char type = static_cast<char>(header[156]);
    position += block;
    if (std::strchr("xgLK", type) == nullptr || type == '\0') return position;
    std::int64_t size = 0;
    const char* digits = reinterpret_cast<const char*>(header.data()) + 124;
    std::from_chars(digits, digits + 11, size, 8);
    position += (size + block - 1) / block * block;
  }
}

/// libarchive reads the headers and seeks over the data.
std::vector<Member> list_members(const File& file) {
  const std::string path = file.path().string();
  const auto wrong = [&](const std::string& what) { return DataError(path + ": " + what); };
  if (file.bytes() < 2 * block || file.bytes() % block != 0) throw wrong("not a whole tar file (truncated?)");
  for (const std::uint8_t byte : file.read(file.bytes() - block, block)) {
    if (byte != 0) throw wrong("the tar has no end marker (truncated?)");
  }
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_filename(reader.get(), path.c_str(), 10240) != ARCHIVE_OK) {
    throw wrong(std::string("not a tar file: ") + archive_error_string(reader.get()));
  }
  std::vector<Member> members;
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) return members;
    if (status != ARCHIVE_OK) throw wrong(std::string("damaged tar: ") + archive_error_string(reader.get()));
    const char* text = archive_entry_pathname(entry);
    const std::string name = text == nullptr ? "" : text;
    const auto type = archive_entry_filetype(entry);
    if (type == AE_IFDIR) continue;
    if (type != AE_IFREG || archive_entry_hardlink(entry) != nullptr)
      throw wrong("'" + name + "' is a link or a device");
    if (name.empty() || name.front() == '/' || ("/" + name + "/").find("/../") != std::string::npos) {
      throw wrong("'" + name + "' is an absolute path or leads out of the shard");
    }
    const std::int64_t offset = data_offset(file, archive_read_header_position(reader.get()));
    const std::int64_t bytes = archive_entry_size(entry);
    if (bytes < 0 || offset + bytes > file.bytes())
      throw wrong("'" + name + "' reaches beyond the end (truncated?)");
    members.push_back({name, offset, bytes});
  }
}

/// WebDataset: the key is the path up to the first dot of its last component; what follows is the extension.
std::array<std::string, 2> split_name(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto dot = name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::int32_t read_label(const File& file, const Member& member, const std::string& key) {
  const std::string where = file.path().string() + ": " + key + ".cls";
  if (member.bytes > 32) throw DataError(where + " is not a class number");
  const auto bytes = file.read(member.offset, member.bytes);
  const char* first = reinterpret_cast<const char*>(bytes.data());
  const char* last = first + bytes.size();
  while (last > first && (last[-1] == '\n' || last[-1] == '\r' || last[-1] == ' ')) --last;
  std::int32_t label = -1;
  const auto [end, error] = std::from_chars(first, last, label);
  if (error != std::errc() || end != last || label < 0)
    throw DataError(where + " is not a class number (0, 1, ...)");
  return label;
}

std::vector<Sample> index_shard(const File& file, std::int32_t shard) {
  std::vector<Sample> samples;
  std::map<std::string, std::array<Member, 2>> found;  // image, label
  std::vector<std::string> order;
  for (Member& member : list_members(file)) {
    const auto [key, extension] = split_name(member.name);
    const bool image = extension == "jpg" || extension == "jpeg" || extension == "JPEG";
    if (!image && extension != "cls") continue;
    const auto [place, inserted] = found.try_emplace(key);
    if (inserted) order.push_back(key);
    Member& slot = place->second[image ? 0 : 1];
    if (!slot.name.empty()) throw DataError(file.path().string() + ": the key '" + key + "' occurs twice");
    slot = std::move(member);
  }
  for (const std::string& key : order) {
    const auto& [image, label] = found.at(key);
    if (image.name.empty()) throw DataError(file.path().string() + ": the key '" + key + "' has no .jpg");
    if (label.name.empty()) throw DataError(file.path().string() + ": the key '" + key + "' has no .cls");
    samples.push_back({shard, read_label(file, label, key), image.offset, image.bytes, key});
  }
  if (samples.empty()) throw DataError(file.path().string() + ": no KEY.jpg with KEY.cls in this tar");
  return samples;
}

}  // namespace

struct ShardSet::Files {
  std::vector<std::unique_ptr<File>> open;
};

ShardSet::ShardSet() : files_(std::make_unique<Files>()) {}
ShardSet::ShardSet(ShardSet&&) noexcept = default;
ShardSet& ShardSet::operator=(ShardSet&&) noexcept = default;
ShardSet::~ShardSet() = default;

ShardSet ShardSet::open(const std::string& pattern) {
  ShardSet set;
  glob_t matches{};
  if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    for (std::size_t i = 0; i < matches.gl_pathc; ++i) set.paths_.emplace_back(matches.gl_pathv[i]);
  }
  globfree(&matches);
  if (set.paths_.empty())
    throw MissingInputError("no shard matches '" + pattern + "' (quote the pattern in the shell)");
  std::sort(set.paths_.begin(), set.paths_.end());
  for (const auto& path : set.paths_) {
    set.files_->open.push_back(std::make_unique<File>(path));
    auto samples =
        index_shard(*set.files_->open.back(), static_cast<std::int32_t>(set.files_->open.size() - 1));
    std::move(samples.begin(), samples.end(), std::back_inserter(set.samples_));
  }
  return set;
}

std::vector<std::uint8_t> ShardSet::read(std::int64_t index) const {
  const Sample& sample = samples_.at(static_cast<std::size_t>(index));
  return files_->open.at(static_cast<std::size_t>(sample.shard))->read(sample.offset, sample.bytes);
}

std::string ShardSet::fingerprint() const {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  BITFALL_ASSERT(context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1, "SHA-256");
  for (const Sample& sample : samples_) {
    const std::string line =
        sample.key + '\0' + std::to_string(sample.label) + ' ' + std::to_string(sample.bytes) + '\n';
    EVP_DigestUpdate(context.get(), line.data(), line.size());
  }
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace bitfall
