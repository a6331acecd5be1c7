/// A table is two bytes and a stream of bits. The bytes: the number of bits b of the frequencies; the order r
/// of the exponential Golomb code (low 4 bits) and whether frequencies are told by their difference to the
/// one before (bit 4). The stream: for each frequency f with the prediction p (the one before; the first one,
/// or without bit 4 all: 2^b div k) the difference f - p as z = 2 (f - p), or 2 (p - f) - 1 when it is
/// negative, and z as an exponential Golomb code of order r: with u = (z >> r) + 1 of 1 + e bits, e ones, a
/// zero, the e low bits of u, the r low bits of z. Numbers and bits within a byte begin with the least
/// significant one.
#include "quantization/frequency_table.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/errors.hpp"

namespace bitfall {
namespace {

constexpr int most_order = 15;
constexpr std::uint8_t previous_flag = 0x10;

class BitWriter {
 public:
  void put(std::uint32_t value, int bits) {
    for (int i = 0; i < bits; ++i, ++count_) {
      if (count_ % 8 == 0) bytes_.push_back(0);
      if (((value >> i) & 1u) != 0)
        bytes_.back() = static_cast<std::uint8_t>(bytes_.back() | (1u << count_ % 8));
    }
  }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
  std::size_t count_ = 0;
};

class BitReader {
 public:
  explicit BitReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint32_t get(int bits) {
    std::uint32_t value = 0;
    for (int i = 0; i < bits; ++i, ++count_) {
      if (count_ / 8 >= bytes_.size()) throw DataError("coded codes: the frequency table is cut off");
      value |= ((bytes_[count_ / 8] >> count_ % 8) & 1u) << i;
    }
    return value;
  }
  /// Whole bytes that were read; the bits after the last one must be zero.
  [[nodiscard]] std::size_t finish() {
    while (count_ % 8 != 0)
      if (get(1) != 0) throw DataError("coded codes: the frequency table has bits beyond its end");
    return count_ / 8;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t count_ = 0;
};

std::uint32_t mean_frequency(int bits, std::size_t k) {
  return static_cast<std::uint32_t>((std::size_t{1} << bits) / k);
}

std::uint32_t fold_sign(std::int64_t difference) {
  return static_cast<std::uint32_t>(difference < 0 ? -2 * difference - 1 : 2 * difference);
}

std::int64_t unfold_sign(std::uint32_t z) {
  const std::int64_t half = z / 2;
  return z % 2 == 0 ? half : -half - 1;
}

/// What is left to tell of each frequency.
std::vector<std::uint32_t> residuals(const FrequencyTable& table, bool from_previous) {
  std::vector<std::uint32_t> result;
  result.reserve(table.frequencies.size());
  std::uint32_t predicted = mean_frequency(table.bits, table.frequencies.size());
  for (const std::uint32_t frequency : table.frequencies) {
    result.push_back(fold_sign(std::int64_t{frequency} - std::int64_t{predicted}));
    if (from_previous) predicted = frequency;
  }
  return result;
}

/// Bits of the exponential Golomb code.
int golomb_bits(std::uint32_t z, int order) {
  return 2 * static_cast<int>(std::bit_width((z >> order) + 1u)) - 1 + order;
}

void put_golomb(BitWriter& out, std::uint32_t z, int order) {
  const std::uint32_t u = (z >> order) + 1u;
  const int extra = static_cast<int>(std::bit_width(u)) - 1;
  BITFALL_ASSERT(extra >= 0, "a difference of 2^32 - 1");
  out.put((1u << extra) - 1u, extra + 1);
  out.put(u, extra);
  out.put(z, order);
}

std::uint32_t get_golomb(BitReader& in, int order) {
  int extra = 0;
  while (in.get(1) != 0)  // no difference needs more: |f - p| <= 2^16
    if (++extra > FrequencyTable::most_bits + 1)
      throw DataError("coded codes: the frequency table has an impossible frequency");
  const std::uint64_t u = (1u << extra) | in.get(extra);
  const std::uint64_t z = ((u - 1u) << order) | in.get(order);
  if (z > std::uint64_t{2} << FrequencyTable::most_bits)
    throw DataError("coded codes: the frequency table has an impossible frequency");
  return static_cast<std::uint32_t>(z);
}

/// A frequency and what one more (or less) of it is worth: the change of count * log2(frequency) is close to
/// count / (frequency + 1/2), which is compared without rounding.
struct Step {
  std::int64_t count = 0, frequency = 0;  ///< the smaller one of the two frequencies
  std::size_t code = 0;
  [[nodiscard]] bool worth_less_than(const Step& other) const {
    const std::int64_t mine = count * (2 * other.frequency + 1);
    const std::int64_t its = other.count * (2 * frequency + 1);
    return mine != its ? mine < its : code > other.code;
  }
};

}  // namespace

FrequencyTable quantize_counts(std::span<const std::int64_t> counts, int bits) {
  const std::int64_t whole = std::int64_t{1} << bits;
  std::int64_t sum = 0;
  for (const std::int64_t count : counts) sum += count;
  BITFALL_ASSERT(sum > 0 && sum <= std::int64_t{1} << 45, std::to_string(sum) + " codes");
  BITFALL_ASSERT(bits >= 0 && bits <= FrequencyTable::most_bits, std::to_string(bits) + " bits");
  FrequencyTable table{bits, {}};
  std::int64_t left = whole;
  for (const std::int64_t count : counts) {
    const std::int64_t share = count * whole / sum;
    table.frequencies.push_back(static_cast<std::uint32_t>(count > 0 ? std::max<std::int64_t>(share, 1) : 0));
    left -= table.frequencies.back();
  }
  const bool grow = left > 0;
  const auto step = [&](std::size_t code) {
    return Step{counts[code], std::int64_t{table.frequencies[code]} - (grow ? 0 : 1), code};
  };
  const auto later = [&](const Step& a, const Step& b) {
    return grow ? a.worth_less_than(b) : b.worth_less_than(a);
  };
  std::priority_queue<Step, std::vector<Step>, decltype(later)> steps(later);
  const std::uint32_t least = grow ? 1 : 2;
  for (std::size_t code = 0; code < counts.size(); ++code)
    if (table.frequencies[code] >= least) steps.push(step(code));
  for (; left != 0; left += grow ? -1 : 1) {
    BITFALL_ASSERT(!steps.empty(), "more codes than frequencies");
    const std::size_t code = steps.top().code;
    steps.pop();
    table.frequencies[code] += grow ? 1 : -1;
    if (table.frequencies[code] >= least) steps.push(step(code));
  }
  return table;
}

TableCoding choose_coding(const FrequencyTable& table) {
  TableCoding best;
  for (const bool from_previous : {false, true}) {
    const std::vector<std::uint32_t> all = residuals(table, from_previous);
    for (int order = 0; order <= std::min(table.bits, most_order); ++order) {
      std::int64_t bits = 0;
      for (const std::uint32_t z : all) bits += golomb_bits(z, order);
      if (best.bits == 0 || bits < best.bits) best = {from_previous, order, bits};
    }
  }
  return best;
}

std::vector<std::uint8_t> write_table(const FrequencyTable& table, const TableCoding& coding) {
  BitWriter out;
  out.put(static_cast<std::uint32_t>(table.bits), 8);
  out.put(static_cast<std::uint32_t>(coding.order) | (coding.from_previous ? previous_flag : 0u), 8);
  for (const std::uint32_t z : residuals(table, coding.from_previous)) put_golomb(out, z, coding.order);
  return out.take();
}

FrequencyTable read_table(std::span<const std::uint8_t> bytes, std::int64_t k, std::size_t& length) {
  BitReader in(bytes);
  FrequencyTable table;
  table.bits = static_cast<int>(in.get(8));
  const std::uint32_t coding = in.get(8);
  if (table.bits > FrequencyTable::most_bits || coding > (previous_flag | most_order))
    throw DataError("coded codes: the frequency table begins with impossible values");
  const int order = static_cast<int>(coding & most_order);
  const std::int64_t whole = std::int64_t{1} << table.bits;
  std::int64_t predicted = mean_frequency(table.bits, static_cast<std::size_t>(k));
  std::int64_t sum = 0;
  for (std::int64_t code = 0; code < k; ++code) {
    const std::int64_t frequency = predicted + unfold_sign(get_golomb(in, order));
    if (frequency < 0 || frequency > whole - sum)
      throw DataError("coded codes: the frequency of code " + std::to_string(code) + " is impossible");
    sum += frequency;
    table.frequencies.push_back(static_cast<std::uint32_t>(frequency));
    if ((coding & previous_flag) != 0) predicted = frequency;
  }
  if (sum != whole)
    throw DataError("coded codes: the frequencies add up to " + std::to_string(sum) + ", not to " +
                    std::to_string(whole));
  length = in.finish();
  return table;
}

}  // namespace bitfall
