#include "bitfall/coded_codes.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/errors.hpp"
#include "bitfall/quantized_layer.hpp"
#include "quantization/frequency_table.hpp"
#include "quantization/rans.hpp"

namespace bitfall {
namespace {

std::vector<std::int64_t> count_codes(std::span<const std::uint16_t> codes, std::int64_t k) {
  BITFALL_ASSERT(k >= 1 && k <= 65536, "k = " + std::to_string(k));
  std::vector<std::int64_t> counts(static_cast<std::size_t>(k));
  for (const std::uint16_t code : codes) {
    BITFALL_ASSERT(code < k, "code " + std::to_string(code) + " of " + std::to_string(k));
    ++counts[code];
  }
  return counts;
}

/// A frequency table and how it is written.
struct Model {
  FrequencyTable table;
  TableCoding coding;
};

/// The model that takes the fewest bits: finer frequencies shorten the codes and lengthen the table. Bits are
/// counted in whole 65536ths, so that no rounding of a sum decides.
Model choose_model(std::span<const std::int64_t> counts, double& bytes) {
  const auto used = static_cast<std::uint64_t>(
      std::count_if(counts.begin(), counts.end(), [](std::int64_t count) { return count > 0; }));
  Model best;
  std::int64_t least = 0;
  for (int bits = static_cast<int>(std::bit_width(used - 1)); bits <= FrequencyTable::most_bits; ++bits) {
    Model model{quantize_counts(counts, bits), {}};
    model.coding = choose_coding(model.table);
    std::int64_t cost = model.coding.bits << 16;
    for (std::size_t code = 0; code < counts.size(); ++code) {
      if (counts[code] > 0)
        cost +=
            counts[code] * std::llround(65536 * (bits - std::log2(double(model.table.frequencies[code]))));
    }
    if (best.table.frequencies.empty() || cost < least) {
      best = std::move(model);
      least = cost;
    }
  }
  bytes = double(least) / 65536 / 8;
  return best;
}

}  // namespace

std::string_view to_string(Coding coding) {
  return coding == Coding::packed ? "packed" : "rans";
}

Coding coding_from_string(std::string_view name) {
  for (const Coding coding : {Coding::packed, Coding::rans}) {
    if (name == to_string(coding)) return coding;
  }
  throw DataError("unknown coding '" + std::string(name) + "'; known are packed, rans");
}

CodedCodes encode_codes(std::span<const std::uint16_t> codes, std::int64_t k) {
  const std::vector<std::int64_t> counts = count_codes(codes, k);
  CodedCodes packed{Coding::packed, pack_codes(codes, code_bits(k))};
  if (codes.empty()) return packed;
  double estimate = 0;
  const Model model = choose_model(counts, estimate);
  if (estimate >= double(packed.bytes.size())) return packed;
  CodedCodes coded{Coding::rans, write_table(model.table, model.coding)};
  const std::vector<std::uint8_t> stream = rans_encode(codes, model.table);
  coded.bytes.insert(coded.bytes.end(), stream.begin(), stream.end());
  return coded.bytes.size() < packed.bytes.size() ? coded : packed;
}

std::vector<std::uint16_t> decode_codes(Coding coding, std::span<const std::uint8_t> bytes,
                                        std::int64_t count, std::int64_t k) {
  if (k < 1 || k > 65536 || count < 0)
    throw DataError("coded codes: " + std::to_string(count) + " codes below " + std::to_string(k) +
                    " are not possible; the file is damaged");
  if (coding == Coding::packed) {
    std::vector<std::uint16_t> codes = unpack_codes(bytes, count, code_bits(k));
    const auto wrong =
        std::find_if(codes.begin(), codes.end(), [k](std::uint16_t code) { return code >= k; });
    if (wrong != codes.end())
      throw DataError("packed codes: there is code " + std::to_string(*wrong) + " but only " +
                      std::to_string(k) + " codewords; the file is damaged");
    return codes;
  }
  std::size_t length = 0;
  const FrequencyTable table = read_table(bytes, k, length);
  return rans_decode(bytes.subspan(length), count, table);
}

double code_entropy(std::span<const std::uint16_t> codes, std::int64_t k) {
  const auto n = double(codes.size());
  double bits = 0;
  for (const std::int64_t count : count_codes(codes, k))
    if (count > 0) bits -= double(count) / n * std::log2(double(count) / n);
  return bits;
}

}  // namespace bitfall
