#include "quantization/code_rate.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>

#include "bitfall/errors.hpp"
#include "parallel/threads.hpp"

namespace bitfall {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// sum_c n_c log2(n / n_c), in the order of c.
double coded_bits(std::span<const std::int64_t> counts) {
  const auto n = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double bits = 0;
  for (const std::int64_t count : counts)
    if (count > 0) bits += static_cast<double>(count) * std::log2(n / static_cast<double>(count));
  return bits;
}

/// The members of each codeword: those of c are order[first[c]] ... order[first[c + 1] - 1].
struct Members {
  std::vector<std::size_t> first, order;
  Members(std::span<const Alternative> all, std::size_t k) : first(k + 1, 0), order(all.size()) {
    for (const Alternative& block : all) ++first[static_cast<std::size_t>(block.code) + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    std::vector<std::size_t> next(first.begin(), first.end() - 1);
    for (std::size_t i = 0; i < all.size(); ++i) order[next[static_cast<std::size_t>(all[i].code)]++] = i;
  }
  [[nodiscard]] std::span<const std::size_t> of(std::size_t c) const {
    return std::span(order).subspan(first[c], first[c + 1] - first[c]);
  }
};

}  // namespace

AlternativeFinder::AlternativeFinder(std::span<const float> codewords, std::span<const float> half_norms)
    : k_(static_cast<std::int64_t>(half_norms.size())),
      d_(static_cast<std::int64_t>(codewords.size() / half_norms.size())),
      columns_(codewords.size()),
      half_norms_(half_norms.begin(), half_norms.end()) {
  for (std::int64_t c = 0; c < k_; ++c)
    for (std::int64_t j = 0; j < d_; ++j)
      columns_[static_cast<std::size_t>(j * k_ + c)] = codewords[static_cast<std::size_t>(c * d_ + j)];
}

Alternative AlternativeFinder::find(const float* point, std::int64_t stride, std::int32_t code) const {
  std::vector<float> scores(half_norms_);
  for (std::int64_t j = 0; j < d_; ++j) {
    const float v = point[j * stride];
    const float* column = columns_.data() + j * k_;
    for (std::int64_t c = 0; c < k_; ++c) scores[static_cast<std::size_t>(c)] -= v * column[c];
  }
  Alternative found{0, code, -1};
  float best = unavailable;
  for (std::int64_t c = 0; c < k_; ++c) {
    if (c == code || !(scores[static_cast<std::size_t>(c)] < best)) continue;
    best = scores[static_cast<std::size_t>(c)];
    found.other = static_cast<std::int32_t>(c);
  }
  if (found.other >= 0)
    found.loss =
        2 * (static_cast<double>(best) - static_cast<double>(scores[static_cast<std::size_t>(code)]));
  return found;
}

std::vector<Alternative> find_alternatives(const TiledBlocks& points, std::span<const float> whitened,
                                           std::span<const float> penalties, double unit,
                                           std::span<const std::int32_t> codes, int threads) {
  const std::int64_t d = points.d;
  const std::size_t k = whitened.size() / static_cast<std::size_t>(d);
  std::vector<float> half_norms(k);
  for (std::size_t c = 0; c < k; ++c) {
    double norm2 = 0;
    for (const float value : whitened.subspan(c * static_cast<std::size_t>(d), static_cast<std::size_t>(d)))
      norm2 += static_cast<double>(value) * static_cast<double>(value);
    half_norms[c] = static_cast<float>(0.5 * norm2) + (penalties.empty() ? 0.0f : penalties[c]);
  }
  const AlternativeFinder finder(whitened, half_norms);
  std::vector<Alternative> all(codes.size());
  parallel_for(points.groups(), threads, [&](std::int64_t group) {
    const std::int64_t first = group * group_points;
    const std::int64_t last = std::min(first + group_points, points.count);
    for (std::int64_t i = first; i < last; ++i) {
      const float* point = points.tiles.data() + i / tile_points * d * tile_points + i % tile_points;
      Alternative& found = all[static_cast<std::size_t>(i)];
      found = finder.find(point, tile_points, codes[static_cast<std::size_t>(i)]);
      found.loss *= unit;
    }
  });
  return all;
}

CodeRate::CodeRate(std::int64_t k, double bit_price, double codeword_bits)
    : price_(bit_price), codeword_bits_(codeword_bits), lengths_(static_cast<std::size_t>(k), 0.0) {
  BITFALL_ASSERT(std::isfinite(bit_price) && bit_price >= 0 && codeword_bits >= 0, "price of a bit");
}

void CodeRate::update(std::span<const std::int64_t> counts) {
  if (!active()) return;
  BITFALL_ASSERT(counts.size() == lengths_.size(), "a count for each codeword");
  const auto n = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  for (std::size_t c = 0; c < counts.size(); ++c)
    lengths_[c] = counts[c] > 0 ? std::log2(n / static_cast<double>(counts[c])) : infinity;
  counts_.assign(counts.begin(), counts.end());
  code_bits_ = coded_bits(counts);
  known_ = true;
}

void CodeRate::update(std::span<const std::int32_t> codes) {
  if (!active()) return;
  std::vector<std::int64_t> counts(lengths_.size(), 0);
  for (const std::int32_t code : codes) ++counts[static_cast<std::size_t>(code)];
  update(counts);
}

double CodeRate::cost() const {
  if (!active()) return 0;
  return price_ * (code_bits_ + codeword_bits_ * static_cast<double>(codewords_in_use()));
}

double CodeRate::safe_unit(double unit) const {
  return std::max(unit, price_ * 1e-30);
}

std::vector<float> CodeRate::penalties(double unit) const {
  if (!active() || !known_) return {};
  std::vector<float> penalties;
  for (const double length : lengths_)
    penalties.push_back(std::isinf(length) ? FLT_MAX : static_cast<float>(0.5 * price_ / unit * length));
  return penalties;
}

std::int64_t CodeRate::drop(std::span<const Alternative> all) {
  const std::size_t k = lengths_.size();
  const Members members(all, k);
  std::vector<double> growth(k, infinity);
  std::vector<std::size_t> candidates;
  for (std::size_t c = 0; c < k; ++c) {
    if (std::isinf(lengths_[c]) || members.of(c).empty()) continue;
    growth[c] = growth_without(members.of(c), all);
    if (growth[c] < 0) candidates.push_back(c);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](std::size_t a, std::size_t b) { return growth[a] < growth[b]; });
  std::vector<bool> dropped(k, false), takes_over(k, false);
  std::int64_t count = 0;
  for (const std::size_t c : candidates) {
    const auto other = [&](std::size_t i) { return static_cast<std::size_t>(all[i].other); };
    const auto own = members.of(c);
    if (takes_over[c] ||
        std::any_of(own.begin(), own.end(), [&](std::size_t i) { return dropped[other(i)]; }))
      continue;
    for (const std::size_t i : own) takes_over[other(i)] = true;
    dropped[c] = true;
    lengths_[c] = infinity;
    ++count;
  }
  return count;
}

/// How J changes when the members of a codeword take their alternatives and the lengths follow. With
/// f(x) = x log2 x the codes have f(n) - sum_c f(n_c) bits. f is convex: where two dropped codewords leave
/// members to the same third, bits fall by even more than both say.
double CodeRate::growth_without(std::span<const std::size_t> members,
                                std::span<const Alternative> all) const {
  const auto f = [](std::int64_t count) {
    return count > 0 ? static_cast<double>(count) * std::log2(static_cast<double>(count)) : 0.0;
  };
  std::map<std::int32_t, std::int64_t> gains;
  double growth = -price_ * codeword_bits_, lengthening = 0;
  for (const std::size_t i : members) {
    if (all[i].other < 0) return infinity;
    growth += all[i].loss;  // of error, and of bits as long as lengths stay what they are:
    lengthening +=
        lengths_[static_cast<std::size_t>(all[i].other)] - lengths_[static_cast<std::size_t>(all[i].code)];
    ++gains[all[i].other];
  }
  double saved_bits = -f(static_cast<std::int64_t>(members.size()));
  for (const auto& [other, gain] : gains) {
    const std::int64_t count = counts_[static_cast<std::size_t>(other)];
    saved_bits += f(count + gain) - f(count);
  }
  return growth - price_ * (lengthening + saved_bits);
}

std::int64_t CodeRate::codewords_in_use() const {
  return std::count_if(lengths_.begin(), lengths_.end(), [](double length) { return !std::isinf(length); });
}

std::int64_t compact(std::vector<std::uint16_t>& codebook, std::vector<std::uint16_t>& codes,
                     std::int64_t d) {
  const auto width = static_cast<std::size_t>(d);
  std::vector<bool> used(codebook.size() / width, false);
  for (const std::uint16_t code : codes) used[code] = true;
  std::vector<std::uint16_t> renamed(used.size(), 0);
  std::size_t next = 0;
  for (std::size_t c = 0; c < used.size(); ++c) {
    if (!used[c]) continue;
    std::copy_n(codebook.begin() + static_cast<std::ptrdiff_t>(c * width), width,
                codebook.begin() + static_cast<std::ptrdiff_t>(next * width));
    renamed[c] = static_cast<std::uint16_t>(next++);
  }
  codebook.resize(next * width);
  for (std::uint16_t& code : codes) code = renamed[code];
  return static_cast<std::int64_t>(next);
}

double entropy_bits(std::span<const std::uint16_t> codes) {
  std::vector<std::int64_t> counts(std::size_t{1} << 16, 0);
  for (const std::uint16_t code : codes) ++counts[code];
  return coded_bits(counts);
}

}  // namespace bitfall
