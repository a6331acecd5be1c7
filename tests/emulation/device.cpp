// Device on the memory of the host. Each buffer ends at a page that can't be touched, so that an access
// beyond it ends the test; what lies before it is checked when it is released; it begins as NaN.
#include "cuda/device.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

#include "emulation/grid.hpp"

namespace bitfall::emulation {
namespace {

constexpr std::int64_t alignment = 16;
constexpr unsigned char undefined = 0xFF;

struct Mapping {
  unsigned char* pages;
  std::int64_t length;        ///< with the guard page
  std::int64_t first, bytes;  ///< of the buffer within
};

std::map<void*, Mapping>& mappings() {
  static std::map<void*, Mapping> all;
  return all;
}

struct Fault {
  std::string call;
  int rank = -1;
  int left = 0;  ///< calls until the one that fails
};

Fault& fault() {
  static Fault injected = [] {
    Fault from_environment;
    if (const char* text = std::getenv("BITFALL_EMULATED_FAULT")) {
      const std::string whole = text;
      const auto number = whole.rfind(':'), rank = whole.rfind(':', number - 1);
      from_environment = {whole.substr(0, rank), std::stoi(whole.substr(rank + 1)),
                          std::stoi(whole.substr(number + 1))};
    }
    return from_environment;
  }();
  return injected;
}

}  // namespace

int call_status(const std::string& call, int rank) {
  Fault& injected = fault();
  if (injected.left == 0 || call != injected.call || rank != injected.rank) return 0;
  return --injected.left == 0 ? 1 : 0;
}

void inject_fault(const std::string& call, int rank, int number) {
  fault() = {call, rank, number};
}

std::int64_t live_buffers() {
  return static_cast<std::int64_t>(mappings().size());
}

}  // namespace bitfall::emulation

namespace bitfall::cuda {

using namespace emulation;

VisibleDevices visible_devices() {
  const char* count = std::getenv("BITFALL_EMULATED_DEVICES");
  return {count != nullptr ? std::stoi(count) : 8, ""};
}

std::string device_identity(int index) {
  const char* first = std::getenv("BITFALL_EMULATED_FIRST_DEVICE");
  return "emulated " + std::to_string(index + (first != nullptr ? std::stoi(first) : 0));
}

std::string network_device(int) {
  return "cpu";  // with copies of the tensors, as on a device
}

std::string network_obstacle() {
  return "";
}

bool holds_tensors() {
  // The host's arithmetic decides most tests' bits; one says that kernels shall form the moments too.
  const char* wanted = std::getenv("BITFALL_EMULATED_ARRAYS");
  return wanted != nullptr && std::string(wanted) == "1";
}

Device::Device(int, int rank, StreamChoice)
    : rank_(rank), multiprocessors_(4), shared_bytes_(std::int64_t{99} << 10) {
  check(call_status("cudaSetDevice", rank), "cudaSetDevice");
}

Device::~Device() = default;

void* Device::allocate(std::int64_t bytes) const {
  check(call_status("cudaMalloc", rank_), "cudaMalloc");
  const std::int64_t page = sysconf(_SC_PAGESIZE);
  const std::int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  const std::int64_t used = (rounded + page) / page * page;
  auto* pages = static_cast<unsigned char*>(mmap(nullptr, static_cast<std::size_t>(used + page),
                                                 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (pages == MAP_FAILED) throw std::bad_alloc();
  mprotect(pages + used, static_cast<std::size_t>(page), PROT_NONE);
  std::memset(pages, undefined, static_cast<std::size_t>(used));
  const Mapping mapping{pages, used + page, used - rounded, bytes};
  mappings()[pages + mapping.first] = mapping;
  return pages + mapping.first;
}

void Device::release(void* memory) const noexcept {
  const auto found = mappings().find(memory);
  if (found == mappings().end()) std::abort();
  const Mapping mapping = found->second;
  const auto untouched = [](unsigned char byte) { return byte == undefined; };
  const unsigned char* begin = mapping.pages + mapping.first;
  const bool intact = std::all_of<const unsigned char*>(mapping.pages, begin, untouched) &&
                      std::all_of(begin + mapping.bytes,
                                  begin + (mapping.bytes + alignment - 1) / alignment * alignment, untouched);
  if (!intact) {
    std::fputs("a kernel wrote outside of a buffer\n", stderr);
    std::abort();
  }
  munmap(mapping.pages, static_cast<std::size_t>(mapping.length));
  mappings().erase(found);
}

void Device::upload(void* to, const void* from, std::int64_t bytes) const {
  check(call_status("cudaMemcpyAsync", rank_), "cudaMemcpyAsync");
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

void Device::download(void* to, const void* from, std::int64_t bytes) const {
  check(call_status("cudaMemcpyAsync", rank_), "cudaMemcpyAsync");
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  synchronize();
}

void Device::set_zero(void* memory, std::int64_t bytes) const {
  check(call_status("cudaMemsetAsync", rank_), "cudaMemsetAsync");
  std::memset(memory, 0, static_cast<std::size_t>(bytes));
}

void Device::synchronize() const {
  check(call_status("cudaStreamSynchronize", rank_), "cudaStreamSynchronize");
}

void Device::check(int status, const char* call) const {
  if (status != 0) throw_failed_call(call, rank_, "an injected fault");
}

}  // namespace bitfall::cuda
