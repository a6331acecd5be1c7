#pragma once
/// Disks that fail, lie, or lose power at a chosen operation.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/files/disk.hpp"

namespace bitfall::test {

enum class Operation { open, write, sync, close, set_permissions, rename, remove, sync_folder };
constexpr Operation all_operations[] = {Operation::open,   Operation::write,           Operation::sync,
                                        Operation::close,  Operation::set_permissions, Operation::rename,
                                        Operation::remove, Operation::sync_folder};
[[nodiscard]] std::string name_of(Operation operation);

/// What the chosen operation does: nothing and says so, nothing and claims success, or (a write) the half.
enum class Fault { refused, lost, partial };

/// The real disk, except for the `which`-th (from 0) operation of one kind.
class FaultyDisk : public Disk {
 public:
  FaultyDisk(Operation operation, std::int64_t which, Fault fault)
      : operation_(operation), which_(which), fault_(fault) {}
  /// Whether the chosen operation was reached.
  [[nodiscard]] bool happened() const { return count_ > which_; }

  int open(const std::string& path, int flags, mode_t mode) override;
  ssize_t write(int file, const void* bytes, std::size_t count) override;
  int sync(int file) override;
  int close(int file) override;
  int set_permissions(const std::string& path, mode_t mode) override;
  int rename(const std::string& from, const std::string& to) override;
  int remove(const std::string& path) override;
  int sync_folder(const std::string& path) override;

 private:
  [[nodiscard]] bool strikes(Operation operation) { return operation == operation_ && count_++ == which_; }
  [[nodiscard]] int result() const;

  Operation operation_;
  std::int64_t which_;
  Fault fault_;
  std::int64_t count_ = 0;
};

/// A disk in memory beside the real one: it knows what has reached the platter. Bytes do with sync(), names
/// with sync_folder(). After `operations` operations the power is gone: nothing works any more.
class PowerCutDisk : public Disk {
 public:
  explicit PowerCutDisk(std::int64_t operations) : left_(operations) {}
  /// A file that is there already, safely.
  void know(const std::string& path);
  [[nodiscard]] bool is_cut() const { return left_ < 0; }

  using Files = std::map<std::string, std::string>;  ///< path -> bytes
  /// Everything that may be found after the cut: any prefix of the changes of names since the last
  /// sync_folder, with the bytes of files as last synced, as zeros of the right length where they were not,
  /// or whole.
  [[nodiscard]] std::vector<Files> survivors() const;
  /// Writes one of them to the real disk, in place of all files of `folder`.
  static void restore(const Files& files, const std::string& folder);

  int open(const std::string& path, int flags, mode_t mode) override;
  ssize_t write(int file, const void* bytes, std::size_t count) override;
  int sync(int file) override;
  int close(int file) override;
  int set_permissions(const std::string& path, mode_t mode) override;
  int rename(const std::string& from, const std::string& to) override;
  int remove(const std::string& path) override;
  int sync_folder(const std::string& path) override;

 private:
  struct File {
    std::string live, durable;
    bool synced = false;
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;
  [[nodiscard]] bool works();
  void names_changed() { history_.push_back(names_); }

  std::int64_t left_;
  Names names_;
  std::vector<Names> history_{{}};  ///< since the last sync_folder; the first one is durable
  std::map<int, std::shared_ptr<File>> open_;
};

}  // namespace bitfall::test
