#include "faulty_disk.hpp"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace bitfall::test {

std::string name_of(Operation operation) {
  const char* names[] = {"open",   "write",  "sync",       "close", "set_permissions",
                         "rename", "remove", "sync_folder"};
  return names[static_cast<int>(operation)];
}

int FaultyDisk::result() const {
  if (fault_ == Fault::lost) return 0;
  errno = EIO;
  return -1;
}

int FaultyDisk::open(const std::string& path, int flags, mode_t mode) {
  if (!strikes(Operation::open)) return Disk::open(path, flags, mode);
  // A file that was never made can still be written to: its descriptor leads nowhere.
  return fault_ == Fault::lost ? ::open("/dev/null", O_RDWR | O_CLOEXEC) : result();
}

ssize_t FaultyDisk::write(int file, const void* bytes, std::size_t count) {
  if (!strikes(Operation::write)) return Disk::write(file, bytes, count);
  if (fault_ == Fault::partial) return Disk::write(file, bytes, count / 2 + 1);
  return fault_ == Fault::lost ? static_cast<ssize_t>(count) : result();
}

int FaultyDisk::sync(int file) {
  return strikes(Operation::sync) ? result() : Disk::sync(file);
}

int FaultyDisk::close(int file) {
  const int status = Disk::close(file);
  return strikes(Operation::close) ? result() : status;
}

int FaultyDisk::set_permissions(const std::string& path, mode_t mode) {
  return strikes(Operation::set_permissions) ? result() : Disk::set_permissions(path, mode);
}

int FaultyDisk::rename(const std::string& from, const std::string& to) {
  return strikes(Operation::rename) ? result() : Disk::rename(from, to);
}

int FaultyDisk::remove(const std::string& path) {
  return strikes(Operation::remove) ? result() : Disk::remove(path);
}

int FaultyDisk::sync_folder(const std::string& path) {
  return strikes(Operation::sync_folder) ? result() : Disk::sync_folder(path);
}

bool PowerCutDisk::works() {
  if (left_ >= 0) --left_;
  if (left_ >= 0) return true;
  errno = EIO;
  return false;
}

void PowerCutDisk::know(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  names_[path] = std::make_shared<File>(File{bytes, bytes, true});
  history_ = {names_};
}

int PowerCutDisk::open(const std::string& path, int flags, mode_t mode) {
  if (!works()) return -1;
  const int file = Disk::open(path, flags, mode);
  if (file < 0) return file;
  std::shared_ptr<File>& known = names_[path];
  if (known == nullptr) {
    known = std::make_shared<File>();
    names_changed();
  } else if ((flags & O_TRUNC) != 0) {
    known->live.clear();
    known->synced = false;
  }
  open_[file] = known;
  return file;
}

ssize_t PowerCutDisk::write(int file, const void* bytes, std::size_t count) {
  if (!works()) return -1;
  const ssize_t written = Disk::write(file, bytes, count);
  File& known = *open_.at(file);
  if (written > 0) known.live.append(static_cast<const char*>(bytes), static_cast<std::size_t>(written));
  known.synced = false;
  return written;
}

int PowerCutDisk::sync(int file) {
  if (!works()) return -1;
  File& known = *open_.at(file);
  known.durable = known.live;
  known.synced = true;
  return Disk::sync(file);
}

int PowerCutDisk::close(int file) {
  open_.erase(file);
  const int status = Disk::close(file);  // or descriptors would be lost
  return works() ? status : -1;
}

int PowerCutDisk::set_permissions(const std::string& path, mode_t mode) {
  return works() ? Disk::set_permissions(path, mode) : -1;
}

int PowerCutDisk::rename(const std::string& from, const std::string& to) {
  if (!works()) return -1;
  const int status = Disk::rename(from, to);
  if (status != 0) return status;
  names_[to] = names_.at(from);
  names_.erase(from);
  names_changed();
  return 0;
}

int PowerCutDisk::remove(const std::string& path) {
  if (!works()) return -1;
  const int status = Disk::remove(path);
  if (status == 0) {
    names_.erase(path);
    names_changed();
  }
  return status;
}

int PowerCutDisk::sync_folder(const std::string& path) {
  if (!works()) return -1;
  history_ = {names_};
  return Disk::sync_folder(path);
}

std::vector<PowerCutDisk::Files> PowerCutDisk::survivors() const {
  std::vector<Files> all;
  for (const Names& names : history_) {
    Files synced, zeros, whole;
    for (const auto& [path, file] : names) {
      synced[path] = file->durable;
      zeros[path] = file->synced ? file->durable : std::string(file->live.size(), '\0');
      whole[path] = file->live;
    }
    for (Files& files : {std::ref(synced), std::ref(zeros), std::ref(whole)}) all.push_back(files);
  }
  return all;
}

void PowerCutDisk::restore(const Files& files, const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove(entry.path());
  for (const auto& [path, bytes] : files) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
}

}  // namespace bitfall::test
