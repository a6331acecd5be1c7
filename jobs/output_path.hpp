#pragma once
#include <memory>
#include <string>

#include "bitfall/communicator.hpp"
#include "io/files/output_lock.hpp"

namespace bitfall {

/// This job's right to write an output, for as long as it lives; rank 0 holds it.
using ClaimedOutput = std::unique_ptr<const OutputLock>;

/// Fails early, before hours of work: throws IoError when the folder of `path` does not exist or can't be
/// written, `path` is a folder, or another job is writing it (collective; rank 0 looks). Removes what a
/// killed job has left beside it; `is_ours` as OutputLock has it.
[[nodiscard]] ClaimedOutput claim_output(const std::string& path, const Communicator& communicator,
                                         const OutputLock::Ours& is_ours = {});

/// The same for a run file, its .new and its .previous; nothing when `path` is empty.
[[nodiscard]] ClaimedOutput claim_run_file(const std::string& path, const Communicator& communicator);

}  // namespace bitfall
