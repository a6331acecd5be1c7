#pragma once
/// The tensors of a network that are stored as they are, and the way back from an archive to a network.
#include <string>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// How the tensors that are not quantized are stored.
enum class KeptPrecision {
  exact,   ///< as they are: nothing changes, finetuning can go on
  fp16,    ///< float32 tensors rounded to fp16
  folded,  ///< batch norms folded to two vectors a channel, then fp16 (what the paper counts in its tightest
           ///< form)
};
/// Throws UsageError that lists the known names.
[[nodiscard]] KeptPrecision kept_precision_from_string(const std::string& name);

/// All parameters and buffers but the weights of `layers`, in state-dict order, as they are.
[[nodiscard]] std::vector<KeptTensor> collect_kept(const Network& network,
                                                   const std::vector<QuantizedLayer>& layers);

/// The same at another precision. `folded` changes the network's batch norms to their folded form.
[[nodiscard]] std::vector<KeptTensor> collect_kept(Network& network,
                                                   const std::vector<QuantizedLayer>& layers,
                                                   KeptPrecision precision);

/// Writes kept tensors into the network. Throws DataError naming `source` when one is not there or differs in
/// shape.
void apply_kept(Network& network, const std::vector<KeptTensor>& kept, const std::string& source);

/// The network that an archive describes: its TorchScript with decoded weights and kept tensors.
/// Throws DataError naming `source` when a tensor is missing or has another shape.
[[nodiscard]] Network restore_network(const Archive& archive, const std::string& source);

}  // namespace bitfall
