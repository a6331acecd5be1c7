#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "model/error_text.hpp"

namespace bitfall::test {

TEST_CASE("the essential line of LibTorch's messages", "[errors]") {
  const auto line = [](const std::string& text) { return essential_line(std::runtime_error(text)); };
  CHECK(line("simple.") == "simple");
  CHECK(line("") == "unknown error");
  CHECK(line("\n\nUnknown builtin op: a::b.\nCould not find any similar ops.\n:\n  File") ==
        "Unknown builtin op: a::b");
  CHECK(line("[enforce fail at inline_container.cc:145] . PytorchStreamReader failed. This is an internal "
             "miniz error. If you") == "PytorchStreamReader failed");
  CHECK(line("The following operation failed in the TorchScript interpreter.\n"
             "Traceback of TorchScript (most recent call last):\n  File \"x.py\", line 3\nRuntimeError: size "
             "mismatch\n") == "size mismatch");
  try {
    TORCH_CHECK(false, "only this\nnot that");
  } catch (const std::exception& error) {
    CHECK(essential_line(error) == "only this");
  }
}

TEST_CASE("what a LibTorch exception means decides the exit code", "[errors]") {
  const auto rethrow = [](const std::string& text) { throw_as_ours(std::runtime_error(text), "step 3"); };
  CHECK_THROWS_AS(rethrow("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
                  std::bad_alloc);
  for (const char* text :
       {"CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79 GiB",
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"})
    CHECK_THROWS_AS(rethrow(text), ClusterError);
  CHECK_THROWS_AS(rethrow("size mismatch, got 3, expected 4"), DataError);
  try {
    rethrow("CUDA out of memory. Tried to allocate 20.00 GiB.");
  } catch (const ClusterError& error) {
    const std::string message = error.what();
    CHECK(message.find("step 3: the device's memory is full") == 0);
    CHECK(message.find("--device cpu") != std::string::npos);
  }
}

}  // namespace bitfall::test
