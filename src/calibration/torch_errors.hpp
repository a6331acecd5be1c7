#pragma once
/// LibTorch's exceptions in our words.
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"
#include "model/error_text.hpp"

namespace bitfall {

/// Runs `work` and turns errors of LibTorch and of its TorchScript interpreter
/// into DataError "WHERE: text": they come from a network and images that do
/// not fit each other. Failures of its allocator are std::bad_alloc, like those
/// of everyone else. `where` is called only on failure.
template <class Work, class Where>
void with_torch_errors(const Work& work, const Where& where) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& error) {
    throw DataError(where() + ": " + essential_line(error));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // c10::Error
    if (std::string_view(error.what()).find("can't allocate memory") != std::string_view::npos) {
      throw std::bad_alloc();
    }
    throw DataError(where() + ": " + essential_line(error));
  }
}

}  // namespace bitfall
