#pragma once
/// The ranks of a job and the few collectives that bitfall needs.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace bitfall {

/// Initialises MPI (thread level MULTIPLE asked for) and finalises it. Exactly one object lives, in main().
class MpiSession {
 public:
  MpiSession(int& argc, char**& argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
};

/// Another way to sum integers over the ranks of a group: NCCL, for values that a device works with.
class LargeSum {
 public:
  LargeSum() = default;
  virtual ~LargeSum() = default;
  LargeSum(const LargeSum&) = delete;
  LargeSum& operator=(const LargeSum&) = delete;
  /// As Communicator::sum.
  virtual void sum(std::span<std::int64_t> values) const = 0;
};

/// A group of ranks. Cheap to copy; all members are collective unless noted: every rank of the group calls
/// them in the same order. Failures of MPI itself are ClusterError.
///
/// Only integer sums exist: a floating-point sum would depend on the number of ranks (see exact_sum.hpp).
class Communicator {
 public:
  /// The group of all ranks. Needs a live MpiSession.
  static Communicator world();
  /// A group of this rank alone; needs no MPI. For tools and tests.
  static Communicator self();

  [[nodiscard]] int rank() const noexcept { return rank_; }  ///< not collective
  [[nodiscard]] int size() const noexcept { return size_; }  ///< not collective
  [[nodiscard]] bool is_root() const noexcept { return rank_ == 0; }

  void barrier() const;
  /// In place: every rank afterwards has the element-wise sum over ranks. [1,2]+[3,4] -> [4,6] everywhere.
  void sum(std::span<std::int64_t> values) const;
  /// From now on sums of large_sum_values and more go this way, for this group and all copies of it; MPI's
  /// shorter latency wins below. nullptr: MPI again. The same on every rank; not collective.
  void use_for_large_sums(std::shared_ptr<const LargeSum> way) const;
  static constexpr std::size_t large_sum_values = 4096;
  /// Every rank gets the largest value of all ranks.
  [[nodiscard]] double max(double value) const;
  [[nodiscard]] std::int64_t max(std::int64_t value) const;
  /// Every rank gets `text` of `root`.
  void broadcast(std::string& text, int root = 0) const;
  /// In place: every rank gets root's bytes; sizes must agree.
  void broadcast_bytes(std::span<std::byte> bytes, int root) const;
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void broadcast(std::span<T> values, int root = 0) const {
    broadcast_bytes(std::as_writable_bytes(values), root);
  }
  /// Every rank gets the concatenation of all ranks' bytes in rank order.
  /// Rank 0 has "ab", rank 1 "", rank 2 "c" -> {"ab", "", "c"} everywhere.
  [[nodiscard]] std::vector<std::string> all_gather(const std::string& text) const;
  /// The concatenation of all ranks' values in rank order, on every rank.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::vector<T> all_gather(std::span<const T> values) const {
    const auto parts =
        all_gather(std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
    std::vector<T> all;
    for (const std::string& part : parts) {
      const T* first = reinterpret_cast<const T*>(part.data());
      all.insert(all.end(), first, first + part.size() / sizeof(T));
    }
    return all;
  }

  /// Runs `work` (which must not communicate) on this rank, then agrees on the outcome: if it threw anywhere,
  /// every rank throws the error of the lowest failing rank, with the same exit code and the same text. So no
  /// rank waits for a peer that has already failed. `what` names the work for errors that are not ours.
  void guarded(std::string_view what, const std::function<void()>& work) const;

  /// The contiguous share [first, last) of `count` items that belongs to `rank` of `size` ranks:
  /// 10 items on 4 ranks -> [0,3) [3,6) [6,8) [8,10). Not collective.
  struct Range {
    std::int64_t first = 0;
    std::int64_t last = 0;
    [[nodiscard]] std::int64_t size() const { return last - first; }
  };
  [[nodiscard]] static Range share(std::int64_t count, int rank, int size);
  [[nodiscard]] Range share(std::int64_t count) const { return share(count, rank_, size_); }

 private:
  Communicator(void* comm, int rank, int size) : comm_(comm), rank_(rank), size_(size) {}
  struct Ways {
    std::shared_ptr<const LargeSum> large_sum;
  };
  void* comm_ =
      nullptr;  ///< an MPI_Comm; nullptr: this rank alone. Kept opaque so that mpi.h stays out of headers.
  int rank_ = 0;
  int size_ = 1;
  std::shared_ptr<Ways> ways_ = std::make_shared<Ways>();
};

}  // namespace bitfall
