#pragma once
/// Memory of this process: what it has, and how its allocator gives it back.
#include <cstdint>

namespace bitfall {

/// Resident bytes now (VmRSS of /proc/self/status); 0 where the system does not tell.
[[nodiscard]] std::int64_t current_rss_bytes();
/// The most resident bytes since the start or the last reset_peak_rss() (VmHWM).
[[nodiscard]] std::int64_t peak_rss_bytes();
/// Sets the peak back to the current value (/proc/self/clear_refs); false where that is not allowed.
bool reset_peak_rss();

/// Sets up glibc's malloc for activations that come and go (call once, first thing in main): no limit that
/// moves by itself, so that memory freed is memory free. docs/performance.md has the measurement.
void configure_allocator();
/// Hands free memory at hand back to the system.
void release_free_memory();

}  // namespace bitfall
