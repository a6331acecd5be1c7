#pragma once
namespace bitfall::bench {
/// Runs fused multiply-adds that touch only registers, on the widest vectors of this machine, for some tens
/// of milliseconds. Returns how many (a vector of 16 lanes counts as 16).
double fma_in_registers();
}  // namespace bitfall::bench
