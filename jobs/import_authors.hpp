#pragma once
#include <string>

#include "bitfall/archive.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// An archive with the codebooks, codes and kept tensors of a file that the paper's authors released.
/// `network` is the TorchScript that it belongs to; its kept tensors are set. The file is read by
/// python/bitfall_import.py (torch.load with weights_only). Throws MissingInputError, or DataError naming the
/// file and the tensor.
[[nodiscard]] Archive import_authors(const std::string& path, Network& network);

}  // namespace bitfall
