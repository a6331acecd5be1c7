#include "parallel/local_rank.hpp"

#include <mpi.h>

#include "bitfall/errors.hpp"

namespace bitfall {

LocalRank local_rank(const Communicator& world) {
  LocalRank local;
  if (world.size() == 1) return local;
  MPI_Comm host = MPI_COMM_NULL;
  const bool found = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank(), MPI_INFO_NULL,
                                         &host) == MPI_SUCCESS &&
                     MPI_Comm_rank(host, &local.rank) == MPI_SUCCESS &&
                     MPI_Comm_size(host, &local.size) == MPI_SUCCESS;
  if (!found)
    throw ClusterError("MPI_Comm_split_type failed on rank " + std::to_string(world.rank()) +
                       ": the ranks of a host do not find each other");
  MPI_Comm_free(&host);
  return local;
}

}  // namespace bitfall
