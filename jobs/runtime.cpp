#include "runtime.hpp"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "bitfall/errors.hpp"
#include "src/parallel/memory.hpp"

namespace bitfall {

namespace {

int cores_of_this_process() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

std::optional<int> launcher_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* value = std::getenv(name)) return std::atoi(value);
  }
  return std::nullopt;
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

int resolve_threads(int asked, const Communicator& communicator) {
  const std::string mine = host_name();
  const auto hosts = communicator.all_gather(mine);
  const auto ranks_here = static_cast<int>(std::count(hosts.begin(), hosts.end(), mine));
  if (asked > 0) return asked;
  // A launcher that binds ranks to cores has already divided them.
  const int cores = cores_of_this_process();
  const int all_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return cores < all_cores ? cores : std::max(1, cores / std::max(1, ranks_here));
}

void configure_libraries() {
  at::set_num_threads(1);
  configure_allocator();
}

void load_operators(const std::vector<std::string>& libraries) {
  for (const std::string& library : libraries) {
    // Never closed: the operators that it registers are used until the end.
    if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) continue;
    const char* why = dlerror();
    throw UsageError("--op-library " + library + " can't be loaded: " + (why != nullptr ? why : "no reason"));
  }
}

}  // namespace bitfall
