#pragma once
/// Quantized layers from the ranks that made them to all ranks.
#include <vector>

#include "bitfall/communicator.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall {

/// `layers[i]` is filled on rank `owner[i]` only; afterwards on every rank (collective). What differs between
/// owners is codebook, codes, k and iterations; the rest every rank must have filled in.
void gather_layers(std::vector<QuantizedLayer>& layers, const std::vector<int>& owner,
                   const Communicator& communicator);

}  // namespace bitfall
