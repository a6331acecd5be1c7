#pragma once
/// bitfall check: what compress would do to a network.
#include "job.hpp"

namespace bitfall {

JobEntry register_check(CLI::App& app, CommonOptions& common);

}  // namespace bitfall
