#pragma once
/// Files for readers that take a path: in memory, one folder a process, the same names every time.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace bitfall::fuzz {

class ScratchFolder {
 public:
  ScratchFolder() : path_(memory() / ("bitfall-fuzz-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  /// The path of `name` with exactly these bytes in it.
  [[nodiscard]] std::string write(const std::string& name, std::string_view bytes) const {
    const std::string file = path_ / name;
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
    return file;
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  static std::filesystem::path memory() {
    return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
  }
  std::filesystem::path path_;
};

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the process as a crash does, with a reason: a fuzzer keeps the input.
[[noreturn]] inline void fail(const std::string& reason) {
  std::fputs(("fuzz: " + reason + "\n").c_str(), stderr);
  std::abort();
}

/// An error of ours must name the file, or users can't act on it.
inline void require_named(std::string_view message, std::string_view name) {
  if (message.find(name) == std::string_view::npos)
    fail("the error '" + std::string(message) + "' does not name " + std::string(name));
}

}  // namespace bitfall::fuzz
