#include "calibration/shifted_gram.hpp"

#include <algorithm>

#include "parallel/threads.hpp"

// The targets with a fused multiply-add of vectors that can be held in arrays; the others go without.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "calibration/shifted_gram.cpp"
#include <hwy/foreach_target.h>
// clang-format off: highway.h must follow foreach_target.h
#include <hwy/highway.h>
// clang-format on

#ifndef BITFALL_SHIFTED_GRAM_REGION
#define BITFALL_SHIFTED_GRAM_REGION
namespace bitfall {
/// A rectangle of the padded planes of some images: `left` of channels_of_left channels side by side, `right`
/// of 16, both at the rectangle's first position.
struct ShiftedRegion {
  const float *left, *right;
  std::int64_t images, rows, columns, pitch, plane;  ///< positions from row to row, image to image
};
/// Channels of the left side that one call multiplies: as many as registers are there for.
constexpr std::int64_t channels_of_left = 4;
}  // namespace bitfall
#endif

HWY_BEFORE_NAMESPACE();
namespace bitfall::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// sums[c][e] += left_c right_e over the rectangle: 4 x 16 chains, each over the positions in raster order.
void correlate(const ShiftedRegion& region, float* sums) {
  const hn::CappedTag<float, 16> tag;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<float, 16>()));
  constexpr int vectors = 16 / lanes;
  constexpr int channels = static_cast<int>(channels_of_left);
  hn::Vec<decltype(tag)> sum[channels][vectors];
  for (int c = 0; c < channels; ++c)
    for (int v = 0; v < vectors; ++v) sum[c][v] = hn::LoadU(tag, sums + c * 16 + v * lanes);
  for (std::int64_t image = 0; image < region.images; ++image) {
    for (std::int64_t y = 0; y < region.rows; ++y) {
      const std::int64_t first = image * region.plane + y * region.pitch;
      const float* left = region.left + first * channels_of_left;
      const float* right = region.right + first * 16;
      for (std::int64_t x = 0; x < region.columns; ++x, left += channels_of_left, right += 16) {
        hn::Vec<decltype(tag)> r[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) r[v] = hn::LoadU(tag, right + v * lanes);
#pragma GCC unroll 4
        for (int c = 0; c < channels; ++c) {
          const auto l = hn::Set(tag, left[c]);
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) sum[c][v] = hn::MulAdd(l, r[v], sum[c][v]);
        }
      }
    }
  }
  for (int c = 0; c < channels; ++c)
    for (int v = 0; v < vectors; ++v) hn::StoreU(sum[c][v], tag, sums + c * 16 + v * lanes);
}

}  // namespace bitfall::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bitfall {
namespace {

HWY_EXPORT(correlate);

/// Positions whose products are added in float.
constexpr std::int64_t positions_of_float_sum = 2048;

}  // namespace

bool ShiftedGram::fits(const WindowShape& shape) {
  const std::int64_t taps = shape.kernel[0] * shape.kernel[1];
  return taps > 1 && taps <= 9 && shape.stride[0] == 1 && shape.stride[1] == 1 && shape.dilation[0] == 1 &&
         shape.dilation[1] == 1 && shape.channels % panel_channels == 0;
}

/// Padded planes of some images in two layouts: 16 channels side by side, and 4.
struct ShiftedGram::Planes {
  std::int64_t images, pitch, plane;
  std::vector<Part> rows, columns;
  std::vector<float> wide, narrow;

  [[nodiscard]] const float* wide_panel(std::int64_t panel) const {
    return wide.data() + panel * images * plane * panel_channels;
  }
  [[nodiscard]] const float* narrow_panel(std::int64_t panel) const {
    return narrow.data() + panel * images * plane * channels_of_left;
  }
  void fill(const float* data, const WindowShape& shape, int threads) {
    const std::int64_t size = images * plane * shape.channels;
    wide.assign(static_cast<std::size_t>(size), 0.0f);
    narrow.assign(static_cast<std::size_t>(size), 0.0f);
    parallel_for(shape.channels, threads, [&](std::int64_t channel) {
      float* to16 =
          wide.data() + channel / panel_channels * images * plane * panel_channels + channel % panel_channels;
      float* to4 = narrow.data() + channel / channels_of_left * images * plane * channels_of_left +
                   channel % channels_of_left;
      for (std::int64_t image = 0; image < images; ++image) {
        const float* from = data + (image * shape.channels + channel) * shape.plane();
        for (std::int64_t y = 0; y < shape.input[0]; ++y) {
          const std::int64_t first = image * plane + (y + shape.padding[0]) * pitch + shape.padding[1];
          for (std::int64_t x = 0; x < shape.input[1]; ++x, ++from) {
            to16[(first + x) * panel_channels] = *from;
            to4[(first + x) * channels_of_left] = *from;
          }
        }
      }
    });
  }
};

/// Tap t visits [t, t + outputs) of the padded axis. Parts that hold only zeros are left out.
std::vector<ShiftedGram::Part> ShiftedGram::cut(std::int64_t outputs, std::int64_t taps, std::int64_t padding,
                                                std::int64_t size) {
  std::vector<std::int64_t> borders;
  for (std::int64_t tap = 0; tap < taps; ++tap) borders.insert(borders.end(), {tap, tap + outputs});
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  std::vector<Part> parts;
  for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
    const std::int64_t begin = borders[i], end = borders[i + 1];
    if (end <= padding || begin >= padding + size) continue;
    const std::int64_t first = std::max<std::int64_t>(0, begin - outputs + 1);
    parts.push_back({begin, end, first, std::min(taps, begin + 1)});
  }
  return parts;
}

ShiftedGram::ShiftedGram(const WindowShape& shape, const FixedPoint& scale)
    : channels_(shape.channels),
      kernel_{shape.kernel[0], shape.kernel[1]},
      taps_(shape.kernel[0] * shape.kernel[1]),
      scale_(scale) {
  const std::int64_t panels = channels_ / panel_channels, side = panel_channels * taps_;
  sums_.assign(static_cast<std::size_t>(panels * (panels + 1) / 2 * side * side), 0);
}

void ShiftedGram::add(const float* data, std::int64_t images, const WindowShape& shape, int threads) {
  const std::int64_t together = std::max<std::int64_t>(1, positions_of_float_sum / shape.positions());
  const std::int64_t panels = channels_ / panel_channels;
  for (std::int64_t first = 0; first < images; first += together) {
    Planes planes;
    planes.images = std::min(together, images - first);
    planes.pitch = shape.output(1) + kernel_[1] - 1;
    planes.plane = planes.pitch * (shape.output(0) + kernel_[0] - 1);
    planes.rows = cut(shape.output(0), kernel_[0], shape.padding[0], shape.input[0]);
    planes.columns = cut(shape.output(1), kernel_[1], shape.padding[1], shape.input[1]);
    planes.fill(data + first * shape.channels * shape.plane(), shape, threads);
    std::vector<std::vector<float>> partial(static_cast<std::size_t>(threads));
    parallel_for_workers(panels * panels, threads, [&](std::int64_t index, int worker) {
      const std::int64_t i = index / panels, j = index % panels;
      if (j <= i) add_pair(planes, i, j, partial[static_cast<std::size_t>(worker)]);
    });
  }
}

/// One pair of panels, four channels of the first at a time.
void ShiftedGram::add_pair(const Planes& planes, std::int64_t i, std::int64_t j,
                           std::vector<float>& partial) {
  const std::int64_t reach[2] = {kernel_[0] - 1, kernel_[1] - 1};
  const std::int64_t side = panel_channels * taps_;
  std::int64_t* sums = sums_.data() + (i * (i + 1) / 2 + j) * side * side;
  for (std::int64_t c = 0; c < panel_channels; c += channels_of_left) {
    const float* left = planes.narrow_panel((i * panel_channels + c) / channels_of_left);
    const float* right = planes.wide_panel(j);
    partial.assign(static_cast<std::size_t>((2 * reach[0] + 1) * (2 * reach[1] + 1)) * planes.rows.size() *
                       planes.columns.size() * static_cast<std::size_t>(channels_of_left * panel_channels),
                   0.0f);
    float* sum = partial.data();
    for (std::int64_t dy = -reach[0]; dy <= reach[0]; ++dy) {
      for (std::int64_t dx = -reach[1]; dx <= reach[1]; ++dx) {
        for (const Part& rows : planes.rows) {
          for (const Part& columns : planes.columns) {
            // Only where some tap of the left side has its partner: the others need no products.
            const bool wanted = rows.last_tap + dy > 0 && rows.first_tap + dy < kernel_[0] &&
                                columns.last_tap + dx > 0 && columns.first_tap + dx < kernel_[1];
            const std::int64_t at = rows.begin * planes.pitch + columns.begin;
            const ShiftedRegion region{left + at * channels_of_left,
                                       right + (at + dy * planes.pitch + dx) * panel_channels,
                                       planes.images,
                                       rows.end - rows.begin,
                                       columns.end - columns.begin,
                                       planes.pitch,
                                       planes.plane};
            if (wanted) HWY_DYNAMIC_DISPATCH(correlate)(region, sum);
            sum += channels_of_left * panel_channels;
          }
        }
      }
    }
    collect(planes, partial.data(), c, channels_of_left, sums);
  }
}

/// H of a pair of taps: the sums of the parts that the first tap visits, rounded once.
void ShiftedGram::collect(const Planes& planes, const float* partial, std::int64_t first_channel,
                          std::int64_t channels, std::int64_t* sums) const {
  const std::int64_t tile = channels_of_left * panel_channels;
  const auto columns = static_cast<std::int64_t>(planes.columns.size());
  const std::int64_t parts = static_cast<std::int64_t>(planes.rows.size()) * columns;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t a = 0; a < taps_; ++a) {
      for (std::int64_t b = 0; b < taps_; ++b) {
        const std::int64_t y = a / kernel_[1], x = a % kernel_[1];
        const std::int64_t dy = b / kernel_[1] - y + kernel_[0] - 1, dx = b % kernel_[1] - x + kernel_[1] - 1;
        const float* shift = partial + (dy * (2 * kernel_[1] - 1) + dx) * parts * tile + c * panel_channels;
        float total[panel_channels] = {};
        for (std::size_t r = 0; r < planes.rows.size(); ++r) {
          if (y < planes.rows[r].first_tap || y >= planes.rows[r].last_tap) continue;
          for (std::size_t s = 0; s < planes.columns.size(); ++s) {
            if (x < planes.columns[s].first_tap || x >= planes.columns[s].last_tap) continue;
            const float* part =
                shift + (static_cast<std::int64_t>(r) * columns + static_cast<std::int64_t>(s)) * tile;
            for (std::int64_t e = 0; e < panel_channels; ++e) total[e] += part[e];
          }
        }
        std::int64_t* sum = sums + (((first_channel + c) * taps_ + a) * taps_ + b) * panel_channels;
        for (std::int64_t e = 0; e < panel_channels; ++e)
          sum[e] += scale_.to_integer(static_cast<double>(total[e]));
      }
    }
  }
}

std::vector<double> ShiftedGram::lower_triangle() const {
  const std::int64_t columns = channels_ * taps_, side = panel_channels * taps_;
  std::vector<double> lower(static_cast<std::size_t>(columns * (columns + 1) / 2));
  for (std::int64_t row = 0; row < columns; ++row) {
    const std::int64_t i = row / side;
    double* out = lower.data() + row * (row + 1) / 2;
    for (std::int64_t column = 0; column <= row; ++column) {
      const std::int64_t j = column / side, within = column % side;
      const std::int64_t* pair = sums_.data() + (i * (i + 1) / 2 + j) * side * side;
      out[column] =
          scale_.to_double(pair[(row % side * taps_ + within % taps_) * panel_channels + within / taps_]);
    }
  }
  return lower;
}

}  // namespace bitfall
#endif  // HWY_ONCE
