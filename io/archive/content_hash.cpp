#include <bit>
#include <cstdint>
#include <cstring>

#include "bitfall/archive.hpp"
#include "content_hash.hpp"
#include "sha256.hpp"

namespace bitfall {

namespace {

/// Numbers as 8 little-endian bytes; texts and lists with their length before them: no two archives can feed
/// the same stream.
class Stream {
 public:
  void add(std::int64_t value) {
    std::uint8_t bytes[8];
    std::memcpy(bytes, &value, sizeof bytes);
    hash_.add(std::span<const std::uint8_t>(bytes));
  }
  void add(std::string_view text) {
    add(static_cast<std::int64_t>(text.size()));
    hash_.add(text);
  }
  void add(const Digest& digest) { hash_.add(std::span<const std::uint8_t>(digest)); }
  void add(const std::vector<std::int64_t>& list) {
    add(static_cast<std::int64_t>(list.size()));
    for (const std::int64_t value : list) add(value);
  }
  [[nodiscard]] std::string finish() { return to_hex(hash_.finish()); }

 private:
  Sha256 hash_;
};

void add_layer(Stream& stream, const QuantizedLayer& layer) {
  stream.add(std::string_view(layer.name));
  stream.add(std::string_view(layer.weight_name));
  stream.add(to_string(layer.kind));
  stream.add(layer.weight_shape);
  for (const std::int64_t value : {layer.groups, layer.d, layer.k}) stream.add(value);
  stream.add(to_string(layer.metric));
  stream.add(codes_sha256(layer));
  stream.add(codebook_sha256(layer));
  stream.add(std::int64_t{std::bit_cast<std::int32_t>(layer.codebook_scale)});
  stream.add(static_cast<std::int64_t>(layer.iterations.size()));
  for (const KmeansIteration& iteration : layer.iterations) {
    stream.add(std::bit_cast<std::int64_t>(iteration.objective));
    stream.add(iteration.moved);
    stream.add(iteration.refilled);
  }
}

}  // namespace

Digest codes_sha256(const QuantizedLayer& layer) {
  return sha256(pack_codes(layer.codes, layer.code_bits()));
}

Digest codebook_sha256(const QuantizedLayer& layer) {
  return sha256(
      std::span(reinterpret_cast<const std::uint8_t*>(layer.codebook.data()), layer.codebook.size() * 2));
}

std::string content_hash(const Archive& archive) {
  Stream stream;
  stream.add(static_cast<std::int64_t>(archive.layers.size()));
  for (const QuantizedLayer& layer : archive.layers) add_layer(stream, layer);
  stream.add(static_cast<std::int64_t>(archive.kept.size()));
  for (const KeptTensor& tensor : archive.kept) {
    stream.add(std::string_view(tensor.name));
    stream.add(std::string_view(tensor.dtype));
    stream.add(std::string_view(tensor.stored_dtype));
    stream.add(tensor.shape);
    stream.add(sha256(tensor.bytes));
  }
  stream.add(std::string_view(archive.plan_json));
  return stream.finish();
}

}  // namespace bitfall
