#include "emulation/fibers.hpp"

#include <algorithm>
#include <numeric>

namespace bitfall::emulation {

void Block::start(std::size_t index, const std::function<void()>& body) {
  Thread& thread = threads_[index];
  thread.index = static_cast<unsigned>(index);
  thread.self =
      boost::context::fiber(std::allocator_arg, stacks_, [this, index, &body](boost::context::fiber&& from) {
        Thread& self = threads_[index];
        self.scheduler = std::move(from);
        try {
          body();
        } catch (const boost::context::detail::forced_unwind&) {
          throw;  // the block has failed and its fibers are taken down
        } catch (...) {
          if (!failure_) failure_ = std::current_exception();
        }
        self.done = true;
        return std::move(self.scheduler);
      });
}

void Block::run(unsigned threads, std::mt19937_64& random, const std::function<void()>& body) {
  threads_.clear();
  threads_.resize(threads);
  warp_epochs_.assign((threads + warp_size - 1) / warp_size, 1);
  epoch_ = 1;
  left_ = threads;
  failure_ = nullptr;
  for (std::size_t i = 0; i < threads; ++i) start(i, body);
  while (left_ > 0 && !failure_) {
    const bool moved = run_ready(random);
    if (failure_) break;
    const bool released = release_warps() || release_block();
    if (!moved && !released && left_ > 0) report_deadlock();
  }
  threads_.clear();
  if (failure_) std::rethrow_exception(failure_);
}

/// Lets every thread that does not wait go on until it does, in random order.
bool Block::run_ready(std::mt19937_64& random) {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < threads_.size(); ++i)
    if (!threads_[i].done && threads_[i].waits == Waits::no) ready.push_back(i);
  std::shuffle(ready.begin(), ready.end(), random);
  for (const std::size_t i : ready) {
    current_ = &threads_[i];
    threads_[i].self = std::move(threads_[i].self).resume();
    if (threads_[i].done) --left_;
    if (failure_) break;
  }
  return !ready.empty();
}

/// An exchange takes place when every lane of its mask has come to it.
bool Block::release_warps() {
  bool released = false;
  for (std::size_t first = 0; first < threads_.size(); first += warp_size) {
    const std::size_t lanes = std::min<std::size_t>(warp_size, threads_.size() - first);
    for (std::size_t i = 0; i < lanes; ++i) {
      const Thread& leader = threads_[first + i];
      if (leader.done || leader.waits != Waits::for_warp) continue;
      bool complete = true;
      for (std::size_t j = 0; j < warp_size; ++j) {
        if ((leader.mask >> j & 1u) == 0) continue;
        if (j >= lanes) throw KernelError("a warp's mask names lanes that do not exist");
        const Thread& other = threads_[first + j];
        complete = complete && !other.done && other.waits == Waits::for_warp && other.mask == leader.mask &&
                   other.exchange == leader.exchange;
      }
      if (!complete) continue;
      const std::uint32_t mask = leader.mask;
      for (std::size_t j = 0; j < lanes; ++j)
        if ((mask >> j & 1u) != 0) threads_[first + j].waits = Waits::no;
      if (mask == ~0u || lanes < warp_size) ++warp_epochs_[first / warp_size];
      released = true;
    }
  }
  return released;
}

bool Block::release_block() {
  if (left_ == 0) return false;
  const bool all = std::all_of(threads_.begin(), threads_.end(), [](const Thread& thread) {
    return !thread.done && thread.waits == Waits::for_block;
  });
  if (!all) return false;
  for (Thread& thread : threads_) thread.waits = Waits::no;
  ++epoch_;
  return true;
}

void Block::report_deadlock() const {
  std::string text = "the block can't go on:";
  for (const Waits kind : {Waits::for_block, Waits::for_warp}) {
    const auto count = std::count_if(threads_.begin(), threads_.end(), [kind](const Thread& thread) {
      return !thread.done && thread.waits == kind;
    });
    text += " " + std::to_string(count) +
            (kind == Waits::for_block ? " threads wait at __syncthreads," : " for their warp,");
  }
  throw KernelError(text + " " + std::to_string(threads_.size() - left_) + " have ended");
}

void Block::park() {
  Thread& thread = *current_;
  thread.scheduler = std::move(thread.scheduler).resume();
}

void Block::wait_for_block() {
  current_->waits = Waits::for_block;
  park();
}

void Block::wait_for_warp(std::uint32_t mask, const char* exchange) {
  if ((mask >> lane() & 1u) == 0)
    throw KernelError(std::string(exchange) + ": the lane is not in its own mask");
  current_->waits = Waits::for_warp;
  current_->mask = mask;
  current_->exchange = exchange;
  park();
}

std::uint64_t Block::exchange(std::uint32_t mask, std::uint64_t value, unsigned source, const char* name) {
  current_->published = value;
  wait_for_warp(mask, name);
  std::uint64_t result = value;
  if (source < warp_size) {
    if ((mask >> source & 1u) == 0) throw KernelError(std::string(name) + " from a lane outside the mask");
    result = threads_[warp() * warp_size + source].published;
  }
  wait_for_warp(mask, name);  // nobody publishes again before all have read
  return result;
}

}  // namespace bitfall::emulation
