/// The one file with setjmp: a function that may jump has no object that would need destruction, and what
/// changes between setjmp and the jump lies in State, not in local variables.
#include "jpeg_library.hpp"

// jpeglib.h uses FILE and size_t without declaring them
#include <cstdio>
// that first
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>

namespace bitfall {

namespace {

/// As TurboJPEG's: a few hundred bytes of progressive scans can cost minutes.
constexpr int kMostScans = 500;

}  // namespace

struct JpegDecompressor::State {
  jpeg_decompress_struct info = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf failed = {};
  char message[JMSG_LENGTH_MAX] = {};
  bool created = false, stray_bytes = false;
  Window part;

  static State& of(j_common_ptr info) { return *static_cast<State*>(info->client_data); }

  [[noreturn]] static void fail(j_common_ptr info) {
    State& state = of(info);
    if (state.message[0] == '\0') info->err->format_message(info, state.message);
    std::longjmp(state.failed, 1);
  }

  /// Truncation and damaged entropy data are warnings to libjpeg, which then makes grey pixels; here they are
  /// errors. Stray bytes in front of the end marker are harmless and common in ImageNet; Pillow decodes such
  /// files too.
  static void warn(j_common_ptr info, int level) {
    if (level >= 0) return;
    const bool is_harmless =
        info->err->msg_code == JWRN_EXTRANEOUS_DATA && info->err->msg_parm.i[1] == JPEG_EOI;
    if (!is_harmless) fail(info);
    of(info).stray_bytes = true;
  }

  static void limit_scans(j_common_ptr info) {
    State& state = of(info);
    if (state.info.input_scan_number <= kMostScans) return;
    std::snprintf(state.message, sizeof state.message, "it has more than %d scans", kMostScans);
    fail(info);
  }

  void create(std::span<const std::uint8_t> bytes) {
    info.client_data = this;
    info.err = jpeg_std_error(&errors);
    errors.error_exit = fail;
    errors.emit_message = warn;
    progress.progress_monitor = limit_scans;
    jpeg_create_decompress(&info);
    created = true;
    info.progress = &progress;
    jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  }

  /// Smooth upsampling takes the first and last column of a part for the image's edge, and changes its method
  /// in very narrow ones; so a part is wider than what is needed by a pixel on each side, and never narrow.
  void crop(const Window& needed) {
    constexpr std::int64_t least_width = 128;
    const auto width = static_cast<std::int64_t>(info.output_width);
    part = {0, 0, width, static_cast<std::int64_t>(info.output_height)};
    // Several scans are decoded whole before the first row: little is saved, and blocks may be smoothed.
    if (jpeg_has_multiple_scans(&info)) return;
    const std::int64_t left =
        std::clamp<std::int64_t>(needed.left - 1, 0, std::max<std::int64_t>(width - least_width, 0));
    const std::int64_t right = std::min(width, std::max(needed.right + 1, left + least_width));
    auto first = static_cast<JDIMENSION>(left), count = static_cast<JDIMENSION>(right - left);
    jpeg_crop_scanline(&info, &first, &count);
    part = {first, needed.top, static_cast<std::int64_t>(first) + count, needed.bottom};
  }

  void read_rows(std::uint8_t* pixels) {
    constexpr std::int64_t rows_at_once = 16;
    const std::int64_t stride = part.width() * info.output_components;
    if (part.top > 0) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(part.top));
    while (info.output_scanline < static_cast<JDIMENSION>(part.bottom)) {
      const auto done = static_cast<std::int64_t>(info.output_scanline) - part.top;
      JSAMPROW rows[rows_at_once];
      const std::int64_t count = std::min(rows_at_once, part.bottom - part.top - done);
      for (std::int64_t i = 0; i < count; ++i) rows[i] = pixels + (done + i) * stride;
      jpeg_read_scanlines(&info, rows, static_cast<JDIMENSION>(count));
    }
  }

  /// Behind the last row that is needed nothing is decoded: of the rest is only asked that the end marker is
  /// there, without which the file was cut. In entropy-coded data FF is never followed by D9.
  void finish() {
    if (info.output_scanline == info.output_height) {
      jpeg_finish_decompress(&info);
      return;
    }
    constexpr JOCTET marker[2] = {0xFF, JPEG_EOI};
    const JOCTET* rest = info.src->next_input_byte;
    const JOCTET* end = rest + info.src->bytes_in_buffer;
    if (info.unread_marker != JPEG_EOI && std::search(rest, end, marker, marker + 2) == end)
      WARNMS(&info, JWRN_JPEG_EOF);
    jpeg_abort_decompress(&info);
  }
};

JpegDecompressor::JpegDecompressor(std::span<const std::uint8_t> bytes) : state_(std::make_unique<State>()) {
  if (setjmp(state_->failed) == 0) state_->create(bytes);
}

JpegDecompressor::~JpegDecompressor() {
  if (state_->created) jpeg_destroy_decompress(&state_->info);
}

bool JpegDecompressor::read_header() {
  if (!state_->created || setjmp(state_->failed) != 0) return false;
  jpeg_read_header(&state_->info, TRUE);
  return true;
}

bool JpegDecompressor::start(const Window& needed) {
  if (setjmp(state_->failed) != 0) return false;
  state_->info.out_color_space = is_cmyk() ? JCS_CMYK : JCS_EXT_RGB;
  jpeg_start_decompress(&state_->info);
  state_->crop(needed);
  return true;
}

bool JpegDecompressor::read(std::uint8_t* pixels) {
  if (setjmp(state_->failed) != 0) return false;
  state_->read_rows(pixels);
  state_->finish();
  return true;
}

std::int64_t JpegDecompressor::width() const {
  return state_->info.image_width;
}
std::int64_t JpegDecompressor::height() const {
  return state_->info.image_height;
}
bool JpegDecompressor::is_cmyk() const {
  const J_COLOR_SPACE colours = state_->info.jpeg_color_space;
  return colours == JCS_CMYK || colours == JCS_YCCK;
}
const Window& JpegDecompressor::part() const {
  return state_->part;
}
const char* JpegDecompressor::error() const {
  return state_->message;
}
bool JpegDecompressor::had_stray_bytes() const {
  return state_->stray_bytes;
}

}  // namespace bitfall
