#include "quantization/assigner.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bitfall/errors.hpp"
#include "quantization/stopwatch.hpp"

namespace bitfall {
namespace {

/// Where more points than this share of a chunk are open, packing them costs more than it saves.
constexpr double packing_limit = 0.75;
/// Where bounds leave more than this share of all points open, keeping them costs more than it saves.
constexpr double bounds_limit = 0.6;
/// Plain E-steps before bounds are tried (again): a trial costs about a tenth of one.
constexpr int rounds_between_trials = 4;
/// From here on the filter alone is never faster than the plain E-step, which has as many multiply-adds in
/// vectors. Below, FasterWay says.
constexpr std::int64_t filter_dimensions = 8;

}  // namespace

Assigner::Assigner(const TiledBlocks& points, std::int64_t k, int workers, bool accelerate)
    : given_(points), workers_(static_cast<std::size_t>(workers)) {
  if (!accelerate) return;
  if (boxes_pay(points.count, k, points.d)) {
    boxes_ = std::make_unique<BoxOrder>(order_by_boxes(points));
  } else if (FilterTable::pays(k, points.d)) {
    filter_ = std::make_unique<FilterTable>(k, points.d);
    may_keep_bounds_ = points.d >= filter_dimensions;
    plain_rounds_ = rounds_between_trials;
    if (may_keep_bounds_) lower_.assign(static_cast<std::size_t>(points.groups() * group_points), 0.0f);
  }
}

void Assigner::prepare(const CodewordTable& table) {
  if (boxes_ && table.is_distance)
    for (Worker& worker : workers_) prepare_boxes(table, worker.box);
  if (may_keep_bounds_) choose_bounds(table);
  if (filter_ && (keeps_bounds_ || !may_keep_bounds_)) filter_->set(table);
  for (Worker& worker : workers_) worker.filter.exponent = FilterScratch().exponent;
}

void Assigner::choose_bounds(const CodewordTable& table) {
  std::int64_t left_open = 0;
  for (Worker& worker : workers_) {
    left_open += worker.left_open;
    worker.left_open = 0;
  }
  const bool useless =
      checks_bounds_ && static_cast<double>(left_open) > bounds_limit * static_cast<double>(given_.count);
  if (useless) plain_rounds_ = rounds_between_trials;
  checks_bounds_ = keeps_bounds_ && !useless && table.is_distance;
  keeps_bounds_ = table.is_distance && (checks_bounds_ || plain_rounds_-- <= 0);
  if (checks_bounds_) moves_.set(before_, table);
  if (keeps_bounds_) before_ = table.rows;
}

void Assigner::assign(std::int64_t first, std::int64_t count, int index, const CodewordTable& table,
                      std::int32_t* codes, float* errors) {
  Worker& worker = workers_[static_cast<std::size_t>(index)];
  if (boxes_ && table.is_distance) {
    assign_boxes(*boxes_, first, count, table, worker.box, codes, errors);
    return;
  }
  if (!checks_bounds_) return search_all(first, count, worker, table, codes, errors);
  worker.open.clear();
  for (std::int64_t g = 0; g < count; ++g) {
    const std::int64_t at = g * group_points;
    std::uint64_t undecided = check_bounds(points().group(first + g), table, moves_, codes + at, errors + at,
                                           lower_.data() + (first + g) * group_points);
    for (; undecided != 0; undecided &= undecided - 1)
      worker.open.push_back(at + std::countr_zero(undecided));
  }
  worker.left_open += static_cast<std::int64_t>(worker.open.size());
  if (static_cast<double>(worker.open.size()) > packing_limit * static_cast<double>(count * group_points))
    return search_all(first, count, worker, table, codes, errors);
  search_open(first, worker, table, codes, errors);
}

void Assigner::search_all(std::int64_t first, std::int64_t count, Worker& worker, const CodewordTable& table,
                          std::int32_t* codes, float* errors) {
  const float* groups = points().group(first);
  if (!filter_ || (may_keep_bounds_ && !keeps_bounds_))
    return assign_groups(groups, count, table, codes, errors);
  if (!keeps_bounds_) return search_faster_way(groups, count, worker, table, codes, errors);
  worker.others.resize(static_cast<std::size_t>(count * group_points));
  float* others = worker.others.data();
  assign_groups_filtered(groups, count, table, *filter_, worker.filter, codes, errors, others);
  for (std::int64_t g = 0; g < count; ++g)
    bounds_from_scores(points().group(first + g), table, others + g * group_points,
                       lower_.data() + (first + g) * group_points);
}

void Assigner::search_faster_way(const float* groups, std::int64_t count, Worker& worker,
                                 const CodewordTable& table, std::int32_t* codes, float* errors) {
  const int way = worker.with_filter.choose();
  Stopwatch stopwatch;
  if (way == 0)
    assign_groups(groups, count, table, codes, errors);
  else
    assign_groups_filtered(groups, count, table, *filter_, worker.filter, codes, errors, nullptr);
  worker.with_filter.took(way, stopwatch.lap() / static_cast<double>(count));
}

/// The open points, packed into groups.
void Assigner::search_open(std::int64_t first, Worker& worker, const CodewordTable& table,
                           std::int32_t* codes, float* errors) {
  const auto count = static_cast<std::int64_t>(worker.open.size());
  const std::int64_t groups = (count + group_points - 1) / group_points;
  const auto size = static_cast<std::size_t>(groups * group_points);
  if (worker.points.size() < size * static_cast<std::size_t>(table.d))
    worker.points.assign(size * static_cast<std::size_t>(table.d), 0.0f);
  worker.codes.resize(std::max(worker.codes.size(), size));
  worker.errors.resize(worker.codes.size());
  worker.others.resize(std::max(worker.others.size(), size));
  worker.lower.resize(worker.codes.size());
  for (std::int64_t i = 0; i < count; ++i)
    copy_point(points().group(first), worker.open[static_cast<std::size_t>(i)], table.d, worker.points.data(),
               i);
  assign_groups_filtered(worker.points.data(), groups, table, *filter_, worker.filter, worker.codes.data(),
                         worker.errors.data(), worker.others.data());
  for (std::int64_t g = 0; g < groups; ++g)
    bounds_from_scores(worker.points.data() + g * group_points * table.d, table,
                       worker.others.data() + g * group_points, worker.lower.data() + g * group_points);
  float* lower = lower_.data() + first * group_points;
  for (std::size_t i = 0; i < worker.open.size(); ++i) {
    const std::int64_t point = worker.open[i];
    codes[point] = worker.codes[i];
    errors[point] = worker.errors[i];
    lower[point] = worker.lower[i];
  }
}

}  // namespace bitfall
