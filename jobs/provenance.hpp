#pragma once
#include <string>

#include "job.hpp"

namespace bitfall {

/// Where an archive comes from, as JSON: version, commit, command line, time, hosts, ranks, threads, seed,
/// library versions, and fingerprints of the model file and the data (collective).
[[nodiscard]] std::string provenance_json(const JobContext& context, const std::string& model_file,
                                          const std::string& data_fingerprint);

}  // namespace bitfall
