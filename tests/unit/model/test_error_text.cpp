#include <c10/util/Exception.h>

#include <stdexcept>

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

}  // namespace bitfall::test
