#pragma once
/// Weight tensors as blocks, and back.
///
/// A weight [C_out, C_in/groups, kernel...] is a matrix of C_out rows and D columns in C order; each row is
/// cut into m = D/d blocks, block j of row r being block r * m + j. So the blocks are the weight in C order,
/// for convolutions with any number of groups and for linear layers alike.
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/layer.hpp"
#include "bitfall/network.hpp"

namespace bitfall {

/// n x d, row major, whatever strides the tensor has in memory (channels last, transposed).
/// Throws ConfigError naming the layer when d does not divide its columns.
[[nodiscard]] std::vector<float> read_blocks(const Network& network, const Layer& layer, std::int64_t d);

/// Writes n x d blocks into the network's weight; its strides stay. Every step that uses the weight sees it.
/// Throws DataError when the number of values differs.
void write_blocks(Network& network, const Layer& layer, std::span<const float> blocks);

}  // namespace bitfall
