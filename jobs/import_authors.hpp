#pragma once
/// The released networks of the paper's authors (kill-the-bits) as archives.
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// An archive (without model and provenance) with the codebooks, codes and kept tensors of a released file.
/// `network` is the TorchScript that it belongs to; afterwards it is the released network. The file is read
/// by python/bitfall_import.py (torch.load with weights_only). Throws MissingInputError; DataError naming the
/// file and the layer or tensor that does not fit the network; ClusterError without Python's torch.
[[nodiscard]] Archive import_authors(const std::string& path, Network& network);

/// The same from what the script wrote: NAME.codebook (fp16, k x d), NAME.codes (int32, rows x m), and kept
/// tensors (fp16 or fp32) under their names. Batch norms come folded: running statistics that the file lacks
/// become mean 0 and variance 1. float32 tensors whose values are all exact in fp16 are stored in fp16, so
/// nothing is rounded. `source` names the file in errors.
[[nodiscard]] Archive assemble_authors_archive(const std::vector<KeptTensor>& tensors, Network& network,
                                               const std::string& source);

}  // namespace bitfall
