#include "gather_layers.hpp"

#include <array>

namespace bitfall {

namespace {

/// The owner's vector on every rank.
template <class T>
void share(std::vector<T>& values, std::int64_t count, int owner, const Communicator& communicator) {
  values.resize(static_cast<std::size_t>(count));
  communicator.broadcast(std::span<T>(values), owner);
}

}  // namespace

void gather_layers(std::vector<QuantizedLayer>& layers, const std::vector<int>& owner,
                   const Communicator& communicator) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    QuantizedLayer& layer = layers[i];
    std::array<std::int64_t, 4> sizes = {layer.k, static_cast<std::int64_t>(layer.codebook.size()),
                                         static_cast<std::int64_t>(layer.codes.size()),
                                         static_cast<std::int64_t>(layer.iterations.size())};
    communicator.broadcast(std::span<std::int64_t>(sizes), owner[i]);
    layer.k = sizes[0];
    share(layer.codebook, sizes[1], owner[i], communicator);
    communicator.broadcast(std::span<float>(&layer.codebook_scale, 1), owner[i]);
    share(layer.codes, sizes[2], owner[i], communicator);
    share(layer.iterations, sizes[3], owner[i], communicator);
  }
}

}  // namespace bitfall
