#pragma once
/// The process's surroundings: launcher, threads, libraries' settings.
#include <optional>
#include <string>
#include <vector>

#include "bitfall/communicator.hpp"

namespace bitfall {

/// The rank that the launcher (mpirun, srun) gave this process, read from the environment before MPI starts;
/// nothing without one.
[[nodiscard]] std::optional<int> launcher_rank();

/// `asked`, or when 0: the cores this process may use, divided by the ranks on its host (collective).
[[nodiscard]] int resolve_threads(int asked, const Communicator& communicator);

/// Settings that must hold before the first tensor is made: one thread inside an operator (bitfall runs
/// micro-batches side by side instead, because a library's own threading changes bits), and the allocator's
/// thresholds.
void configure_libraries();

[[nodiscard]] std::string host_name();

/// Loads shared objects that register operators with LibTorch. Throws UsageError with the loader's words.
void load_operators(const std::vector<std::string>& libraries);

}  // namespace bitfall
