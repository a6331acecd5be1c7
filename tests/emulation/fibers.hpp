#pragma once
/// Tests only: the threads of one CUDA block as fibers on one thread of the host.
///
/// A fiber runs until it waits: at a barrier of the block or an exchange of its warp. Who goes next is drawn
/// at random from a seed, so a test that runs under many seeds sees many orders. When nobody can go on, the
/// block is in a deadlock, and that is an error.
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace bitfall::emulation {

/// What the kernel did wrong.
class KernelError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

constexpr unsigned warp_size = 32;

enum class Waits : std::uint8_t { no, for_block, for_warp };

struct Thread {
  boost::context::fiber self, scheduler;
  Waits waits = Waits::no;
  bool done = false;
  unsigned index = 0;
  std::uint32_t mask = 0;       ///< lanes of the exchange it waits for
  const char* exchange = "";    ///< its name: all lanes must wait for the same one
  std::uint64_t published = 0;  ///< what it shows the other lanes
};

/// The block that runs now.
class Block {
 public:
  /// Runs `body` once as each of `threads` threads. Throws KernelError, or what a thread throws.
  void run(unsigned threads, std::mt19937_64& random, const std::function<void()>& body);

  [[nodiscard]] Thread& current() { return *current_; }
  [[nodiscard]] unsigned lane() const { return current_->index % warp_size; }
  [[nodiscard]] unsigned warp() const { return current_->index / warp_size; }
  [[nodiscard]] unsigned size() const { return static_cast<unsigned>(threads_.size()); }
  /// Number of barriers of the block passed so far, and of whole-warp exchanges of a warp: accesses to memory
  /// in different epochs are ordered.
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint32_t warp_epoch() const { return warp_epochs_[warp()]; }

  void wait_for_block();
  void wait_for_warp(std::uint32_t mask, const char* exchange);
  /// Shows `value` to the lanes in `mask` and gives what lane `source` shows. As on the device a source
  /// outside the mask is an error; beyond the warp it is the lane's own value.
  std::uint64_t exchange(std::uint32_t mask, std::uint64_t value, unsigned source, const char* name);

 private:
  void start(std::size_t index, const std::function<void()>& body);
  bool run_ready(std::mt19937_64& random);
  bool release_warps();
  bool release_block();
  [[noreturn]] void report_deadlock() const;
  void park();

  boost::context::pooled_fixedsize_stack stacks_{std::size_t{64} << 10};
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  std::size_t left_ = 0;
  std::uint32_t epoch_ = 1;
  std::vector<std::uint32_t> warp_epochs_;
  std::exception_ptr failure_;
};

}  // namespace bitfall::emulation
