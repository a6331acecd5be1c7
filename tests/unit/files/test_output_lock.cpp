// One writer of an output at a time; nothing stays locked, and what killed writers left is removed.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "../images/temporary_folder.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/files/file.hpp"
#include "io/files/line_file.hpp"
#include "io/files/output_lock.hpp"

using namespace bitfall;
using bitfall::test::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

std::string refusal(const std::string& path) {
  try {
    const OutputLock lock(path);
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

/// A process that holds the lock of `path` and waits to be killed; returns when it has the lock.
pid_t start_holder(const std::string& path) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const OutputLock lock(path);
    (void)!::write(ends[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ends[0], &byte, 1) == 1);
  ::close(ends[0]);
  ::close(ends[1]);
  return child;
}

std::vector<std::string> names(const TemporaryFolder& folder) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder.path())) found.push_back(entry.path().filename());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

TEST_CASE("a second job is refused while the first one writes, and told who that is") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  {
    const OutputLock lock(path);
    REQUIRE(lock.held());
    const std::string message = refusal(path);
    INFO(message);
    CHECK(message.find("'" + path + "'") != std::string::npos);
    CHECK(message.find("process " + std::to_string(::getpid()) + " on ") != std::string::npos);
    CHECK(refusal(folder / "b.h5").empty());
    fs::create_symlink("a.h5", folder / "link.h5");
    CHECK_FALSE(refusal(folder / "link.h5").empty());  // the same file
  }
  CHECK(refusal(path).empty());
  write_file_atomically(folder / "link.h5", "through a link to a file that was not there");
  CHECK(fs::is_symlink(folder / "link.h5"));
  CHECK(names(folder) == std::vector<std::string>{"a.h5", "link.h5"});
  fs::create_symlink("circle", folder / "circle");
  CHECK_THROWS_AS(write_file_atomically(folder / "circle", "x"), IoError);
}

TEST_CASE("the lock of a killed process is free, and its leftovers are removed") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const pid_t child = start_holder(path);
  CHECK_FALSE(refusal(path).empty());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(fs::exists(folder / ".a.h5.lock"));  // as the killed one has left it
  for (const char* name :
       {"a.h5.tmp.123", "a.h5.tmp.123.4", "b.h5.tmp.123", "a.h5.tmp.x", "a.h5.tmp.1.x", "a.h5"})
    std::ofstream(folder / name) << "x";
  CHECK(refusal(path).empty());
  CHECK(names(folder) == std::vector<std::string>{"a.h5", "a.h5.tmp.1.x", "a.h5.tmp.x", "b.h5.tmp.123"});
}

TEST_CASE("a lock file that is a link is not followed") {
  const TemporaryFolder folder;
  std::ofstream(folder / "precious") << "keep";
  fs::create_symlink("precious", folder / ".a.h5.lock");
  CHECK_FALSE(refusal(folder / "a.h5").empty());
  CHECK(read_file(folder / "precious") == "keep");
}

TEST_CASE("many processes that want the same lock never have it together") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5", inside = folder / "inside";
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      int had = 0;
      for (int attempt = 0; attempt < 3000 && had < 40; ++attempt) {
        try {
          const OutputLock lock(path);
          const int file = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
          if (file < 0) ::_exit(2);  // somebody else is in
          ::close(file);
          ::unlink(inside.c_str());
          ++had;
        } catch (const IoError&) {
          ::usleep(100);
        }
      }
      ::_exit(had > 0 ? 0 : 3);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  CHECK(names(folder).empty());
}

TEST_CASE("another user's link in a folder of everybody is not followed, one's own is") {
  const TemporaryFolder folder;
  const std::string shared = folder / "shared";
  fs::create_directory(shared);
  ::chmod(shared.c_str(), 01777);
  std::ofstream(folder / "victim") << "keep";
  fs::create_symlink(folder / "victim", shared + "/own");
  write_file_atomically(shared + "/own", "new");
  CHECK(read_file(folder / "victim") == "new");
  if (::geteuid() != 0) {
    std::cout << "skipped: only root can make another user's link\n";
    return;
  }
  fs::create_symlink(folder / "victim", shared + "/foreign");
  REQUIRE(::lchown((shared + "/foreign").c_str(), 12345, 12345) == 0);
  CHECK_THROWS_AS(write_file_atomically(shared + "/foreign", "evil"), IoError);
  CHECK_THROWS_AS(LineFile(shared + "/foreign"), IoError);
  CHECK(read_file(folder / "victim") == "new");
  ::chmod(shared.c_str(), 0755);  // nobody else may write here: whoever made the link was allowed to
  write_file_atomically(shared + "/foreign", "fine");
  CHECK(read_file(folder / "victim") == "fine");
}

TEST_CASE("files get the user's umask, and keep their permissions when they are replaced") {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_file_atomically(folder / "a", "1");
  { LineFile log(folder / "log"); }
  ::umask(before);
  CHECK((fs::status(folder / "a").permissions() & fs::perms::mask) == fs::perms(0640));
  CHECK((fs::status(folder / "log").permissions() & fs::perms::mask) == fs::perms(0640));
  ::chmod((folder / "a").c_str(), 0604);
  write_file_atomically(folder / "a", "2");
  CHECK((fs::status(folder / "a").permissions() & fs::perms::mask) == fs::perms(0604));
}
