// An archive that can't be written leaves the old one as it was and nothing beside it.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/files/file.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

namespace fs = std::filesystem;

/// No file of this process can become larger than `bytes` while it lives: what a full disk looks like.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    previous_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit limit{bytes, previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    std::signal(SIGXFSZ, previous_handler_);
  }

 private:
  rlimit previous_{};
  void (*previous_handler_)(int) = nullptr;
};

/// Writes another archive to `path` and expects an IoError that names it.
void check_fails(const fs::path& path) {
  Archive archive = sample_archive();
  archive.kept.clear();
  try {
    write_archive(archive, path);
    FAIL("written to " << path);
  } catch (const IoError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(path.string()) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a disk that is full after any number of bytes leaves the old archive") {
  const TemporaryFolder folder;
  Archive archive = sample_archive();
  write_archive(archive, folder / "a.h5");
  const std::string before = read_file(folder / "a.h5");
  Archive other = sample_archive();
  other.kept.clear();
  const auto file_bytes = static_cast<rlim_t>(write_archive(other, folder / "other.h5").file);
  fs::remove(folder / "other.h5");
  for (const rlim_t limit :
       {rlim_t{0}, rlim_t{1}, rlim_t{4096}, file_bytes / 2, file_bytes - 48, file_bytes - 1}) {
    {
      const FileSizeLimit full(limit);
      check_fails(folder / "a.h5");
      check_fails(folder / "new.h5");
    }
    CHECK(folder.names() == std::vector<std::string>{"a.h5"});
    CHECK(read_file(folder / "a.h5") == before);
  }
  {
    const FileSizeLimit enough(file_bytes);
    write_archive(other, folder / "a.h5");
  }
  CHECK(difference(other, read_archive(folder / "a.h5")).empty());
}

TEST_CASE("a folder that is missing or can't be written to leaves nothing") {
  const TemporaryFolder folder;
  check_fails(folder / "none/a.h5");
  check_fails(folder.path());
  check_fails("/dev/null");
  check_fails("/proc/a.h5");  // for root too
  CHECK(fs::is_character_file("/dev/null"));
  write_bytes(folder / "file", "x");
  check_fails(folder / "file/a.h5");
  CHECK(folder.names() == std::vector<std::string>{"file"});

  if (::geteuid() == 0) {
    std::cout << "skipped: root may write to a read-only folder\n";
    return;
  }
  fs::create_directory(folder / "locked");
  write_bytes(folder / "locked/a.h5", "old");
  ::chmod((folder / "locked").c_str(), 0555);
  check_fails(folder / "locked/a.h5");
  ::chmod((folder / "locked").c_str(), 0755);
  CHECK(read_file(folder / "locked/a.h5") == "old");
}

// In a container the program often has the same process id each time.
TEST_CASE("what a killed process of the same id left does not stand in the way") {
  const TemporaryFolder folder;
  const std::string left = "a.h5.tmp." + std::to_string(::getpid());
  write_bytes(folder / left, "half an archive");
  Archive archive = sample_archive();
  write_archive(archive, folder / "a.h5");
  CHECK(difference(archive, read_archive(folder / "a.h5")).empty());
  // It may belong to a process of another host.
  CHECK(read_file(folder / left) == "half an archive");
}

TEST_CASE("a symbolic link stays and its target is replaced, with its permissions") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "real");
  write_bytes(folder / "real/a.h5", "old");
  fs::permissions(folder / "real/a.h5", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real/a.h5", folder / "link.h5");
  Archive archive = sample_archive();
  write_archive(archive, folder / "link.h5");
  CHECK(fs::is_symlink(folder / "link.h5"));
  CHECK(difference(archive, read_archive(folder / "real/a.h5")).empty());
  CHECK(fs::status(folder / "real/a.h5").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
}
