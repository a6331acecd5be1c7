#pragma once
/// LibTorch's exceptions in our words.
#include <new>
#include <stdexcept>
#include <string>

#include "bitfall/errors.hpp"
#include "model/error_text.hpp"

namespace bitfall {

/// Runs `work` and turns errors of LibTorch and of its TorchScript interpreter into ours
/// (throw_as_ours). `where` is called only on failure.
template <class Work, class Where>
void with_torch_errors(const Work& work, const Where& where) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw_as_ours(error, where());
  }
}

}  // namespace bitfall
