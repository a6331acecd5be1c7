#include "ending.hpp"

#include <mpi.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thread>

namespace bitfall {

struct Ending::Handle {
  MPI_Comm comm = MPI_COMM_NULL;  ///< of its own, so that its barrier never matches another collective
  int rank = 0;
};

Ending::Ending() : handle_(new Handle) {
  MPI_Comm_dup(MPI_COMM_WORLD, &handle_->comm);
  MPI_Comm_rank(handle_->comm, &handle_->rank);
}

Ending::~Ending() {
  MPI_Comm_free(&handle_->comm);
  delete handle_;
}

bool Ending::everyone_arrives(double patience_seconds) const {
  MPI_Request barrier = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(handle_->comm, &barrier) != MPI_SUCCESS) return false;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience_seconds);
  while (std::chrono::steady_clock::now() < limit) {
    int done = 0;
    if (MPI_Test(&barrier, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (done != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

int Ending::fail(ExitCode code, const std::string& message, double patience_seconds) const {
  const int status = static_cast<int>(code);
  if (everyone_arrives(patience_seconds)) {
    // srun --kill-on-bad-exit and mpirun end with SIGTERM the ranks that leave a moment after the first. One
    // that dies of it would have its 143 reported in place of `code`, and slurm/ would not requeue a stopped
    // job.
    std::signal(SIGTERM, SIG_IGN);
    if (handle_->rank == 0) std::cerr << "bitfall: " << message << std::endl;
    return status;
  }
  std::cerr << "bitfall: rank " << handle_->rank << ": " << message << std::endl;
  MPI_Abort(MPI_COMM_WORLD, status);
  return status;
}

}  // namespace bitfall
