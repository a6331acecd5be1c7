#include "codebook_option.hpp"

#include <utility>

#include "bitfall/errors.hpp"

namespace bitfall {

void add_codebook_option(CLI::App& job, std::optional<CodebookType>& type, const std::string& otherwise) {
  job.add_option_function<std::string>(
         "--codebook", [&type](const std::string& name) { type = codebook_type_from_string(name); },
         "how codebooks are stored: fp16, or int8 with a scale for each layer and a power of two for each "
         "codeword (" +
             otherwise + ")")
      ->check(CLI::IsMember({"fp16", "int8"}));
}

void convert_codebooks(std::vector<QuantizedLayer>& layers, CodebookType type) {
  for (QuantizedLayer& layer : layers) {
    if (layer.codebook_type() == type) continue;
    std::vector<float> values;
    values.reserve(layer.codebook.size());
    for (const std::uint16_t half : layer.codebook) values.push_back(half_to_float(half));
    try {
      StoredCodebook stored = round_codebook(values, layer.d, type);
      layer.codebook = std::move(stored.halves);
      layer.codebook_scale = stored.scale;
    } catch (const DataError& error) {
      throw DataError("layer '" + layer.name + "': " + error.what());
    }
  }
}

}  // namespace bitfall
