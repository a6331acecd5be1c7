#pragma once
/// LibTorch's exceptions in our words.
#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"

namespace bitfall {

/// Runs `work` and turns LibTorch's errors into DataError "WHERE: text" without LibTorch's backtrace.
/// Failures of its allocator are std::bad_alloc, like those of everyone else. `where` is called only on
/// failure.
template <class Work, class Where>
void with_torch_errors(const Work& work, const Where& where) {
  const auto translate = [&where](std::string_view text) {
    if (text.find("can't allocate memory") != std::string_view::npos) throw std::bad_alloc();
    throw DataError(where() + ": " + std::string(text));
  };
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    translate(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::runtime_error& error) {
    translate(error.what());  // the TorchScript interpreter's own
  }
}

}  // namespace bitfall
