#include "quantization/assigner.hpp"

#include <cstddef>

namespace bitfall {

Assigner::Fast::Fast(const TiledBlocks& given, std::int64_t k, int workers)
    : ordered(given, workers), table(k, given.d), scratch(static_cast<std::size_t>(workers)) {}

Assigner::Assigner(const TiledBlocks& points, std::int64_t k, int workers, bool accelerate) : given_(points) {
  if (accelerate && FilterTable::pays(k, points.d)) fast_ = std::make_unique<Fast>(points, k, workers);
}

void Assigner::prepare(const CodewordTable& table) {
  if (rounds_++ > 0 && fast_) fast_->table.set(table);
}

void Assigner::assign(std::int64_t first, std::int64_t count, int worker, const CodewordTable& table,
                      std::int32_t* codes, float* errors) {
  if (!fast_ || rounds_ == 1) return assign_groups(points().group(first), count, table, codes, errors);
  assign_groups_filtered(fast_->ordered, first, count, table, fast_->table,
                         fast_->scratch[static_cast<std::size_t>(worker)], codes, errors);
}

}  // namespace bitfall
