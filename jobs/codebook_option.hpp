#pragma once
/// --codebook: how the codebooks of an archive are stored.
#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

#include "bitfall/codebook.hpp"
#include "bitfall/quantized_layer.hpp"

namespace bitfall {

/// `otherwise` says for people what happens without the option.
void add_codebook_option(CLI::App& job, std::optional<CodebookType>& type, const std::string& otherwise);

/// Stores every codebook as `type`, rounded where that is coarser; the codes stay. Throws DataError naming
/// the layer when a codeword does not fit.
void convert_codebooks(std::vector<QuantizedLayer>& layers, CodebookType type);

}  // namespace bitfall
