#pragma once
/// One rank's device: its memory, its stream, its checked calls. No CUDA header here: device_cuda.cpp
/// implements it with the CUDA run-time, tests/emulation with the memory of the host.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

struct CUstream_st;

namespace bitfall::cuda {

/// The devices that this process may use.
struct VisibleDevices {
  int count = 0;
  std::string problem;  ///< why there is none, in the run-time's words
};
[[nodiscard]] VisibleDevices visible_devices();
/// The same for the same device in every process of a host, whatever number it has there; empty when it can't
/// be told.
[[nodiscard]] std::string device_identity(int index);

/// LibTorch's name of the device, for networks that run there.
[[nodiscard]] std::string network_device(int index);
/// Why LibTorch can't use devices here; empty when it can. Its part for CUDA is loaded by this call: a
/// program that needs no device starts without.
[[nodiscard]] std::string network_obstacle();

/// What a failed call says: the call, the rank, the host and what the library says of it.
[[noreturn]] void throw_failed_call(const std::string& call, int rank, const std::string& problem);

/// Whether LibTorch's tensors of network_device() lie in the device's memory, where kernels can read them.
[[nodiscard]] bool holds_tensors();

/// Which stream a Device orders its work on: one of its own, or the one that LibTorch uses.
enum class StreamChoice { own, of_tensors };

class Device {
 public:
  /// Takes device `index` of this host for the calling thread. `rank` is for messages.
  Device(int index, int rank, StreamChoice stream = StreamChoice::own);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// All work goes through this stream, in order; null is LibTorch's.
  [[nodiscard]] CUstream_st* stream() const { return stream_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int multiprocessors() const { return multiprocessors_; }
  /// The most shared memory that a block may ask for, bytes.
  [[nodiscard]] std::int64_t shared_bytes() const { return shared_bytes_; }

  [[nodiscard]] void* allocate(std::int64_t bytes) const;
  void release(void* memory) const noexcept;
  /// Copies are ordered on the stream. `from` may be reused at once after upload(); download() waits until
  /// `to` is there.
  void upload(void* to, const void* from, std::int64_t bytes) const;
  void download(void* to, const void* from, std::int64_t bytes) const;
  void set_zero(void* memory, std::int64_t bytes) const;
  /// Waits for all work; throws what went wrong with it.
  void synchronize() const;
  /// Throws ClusterError unless `status` (a cudaError_t) is success.
  void check(int status, const char* call) const;

 private:
  int rank_;
  int multiprocessors_ = 1;
  std::int64_t shared_bytes_ = 0;
  CUstream_st* stream_ = nullptr;
};

/// `count` values on the device, undefined at first.
template <class T>
class Buffer {
 public:
  Buffer(const Device& device, std::int64_t count)
      : device_(&device),
        count_(count),
        data_(static_cast<T*>(device.allocate(count * std::int64_t{sizeof(T)}))) {}
  Buffer(const Device& device, std::span<const T> values)
      : Buffer(device, static_cast<std::int64_t>(values.size())) {
    upload(values);
  }
  ~Buffer() { device_->release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::int64_t size() const { return count_; }
  void upload(std::span<const T> values) {
    device_->upload(data_, values.data(), static_cast<std::int64_t>(values.size_bytes()));
  }
  void download(std::span<T> values) const {
    device_->download(values.data(), data_, static_cast<std::int64_t>(values.size_bytes()));
  }
  void set_zero() { device_->set_zero(data_, count_ * std::int64_t{sizeof(T)}); }

 private:
  const Device* device_;
  std::int64_t count_;
  T* data_;
};

/// How a kernel is started.
struct LaunchShape {
  std::int64_t blocks = 1;
  std::int64_t batches = 1;  ///< second dimension of the grid
  int threads = 128;
  std::int64_t shared_bytes = 0;
};

}  // namespace bitfall::cuda
