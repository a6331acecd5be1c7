#include "bitfall/communicator.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>

#include "bitfall/errors.hpp"
#include "parallel/stall_watch.hpp"

namespace bitfall {
namespace {

// Counts of MPI 3 are `int`; longer buffers go in pieces of this many elements.
constexpr std::size_t chunk_elements = std::size_t{1} << 24;

/// The handle behind Communicator's opaque pointer (Open MPI: a pointer, MPICH: an int).
MPI_Comm handle(void* opaque) {
  MPI_Comm comm = MPI_COMM_NULL;
  static_assert(sizeof(MPI_Comm) <= sizeof(void*));
  std::memcpy(&comm, &opaque, sizeof(comm));
  return comm;
}

void* opaque(MPI_Comm comm) {
  void* pointer = nullptr;
  std::memcpy(&pointer, &comm, sizeof(comm));
  return pointer;
}

std::string host_name() {
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  if (MPI_Get_processor_name(name.data(), &length) != MPI_SUCCESS) return "unknown host";
  return std::string(name.data(), static_cast<std::size_t>(length));
}

void check(int status, const char* call, int rank) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  throw ClusterError(std::string(call) + " failed on rank " + std::to_string(rank) + " (" + host_name() +
                     "): " + std::string(text.data(), static_cast<std::size_t>(length)) +
                     "; look for a rank that died or a broken network");
}

/// Calls `piece(offset, count)` for consecutive pieces whose counts fit MPI's int.
template <class Piece>
void for_each_chunk(std::size_t count, const Piece& piece) {
  for (std::size_t offset = 0; offset < count; offset += chunk_elements) {
    piece(offset, static_cast<int>(std::min(chunk_elements, count - offset)));
  }
}

/// What one rank has to say after guarded work.
struct Outcome {
  ExitCode code = ExitCode::ok;
  std::string message;
};

Outcome run(std::string_view what, const std::function<void()>& work, int rank) {
  const std::string prefix(what);
  try {
    work();
    return {};
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::cluster, prefix + ": rank " + std::to_string(rank) +
                                   " ran out of memory; use fewer images, smaller micro-batches, fewer "
                                   "threads or more nodes (--dry-run predicts the memory)"};
  } catch (const std::exception& error) {
    return {ExitCode::internal, prefix + ": " + error.what()};
  } catch (...) {
    return {ExitCode::internal, prefix + ": an exception of unknown type"};
  }
}

[[noreturn]] void raise(const Outcome& outcome) {
  switch (outcome.code) {
    case ExitCode::usage:
      throw UsageError(outcome.message);
    case ExitCode::data:
      throw DataError(outcome.message);
    case ExitCode::missing_input:
      throw MissingInputError(outcome.message);
    case ExitCode::cluster:
      throw ClusterError(outcome.message);
    case ExitCode::internal:
      throw InternalError(outcome.message);
    case ExitCode::cannot_write:
      throw IoError(outcome.message);
    case ExitCode::config:
      throw ConfigError(outcome.message);
    case ExitCode::ok:
    case ExitCode::preempted:
      break;
  }
  throw Error(outcome.code, outcome.message);
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS) {
    throw ClusterError("MPI_Init_thread failed: start bitfall alone, or through mpirun or srun");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

MpiSession::~MpiSession() {
  MPI_Finalize();
}

Communicator Communicator::world() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  BITFALL_ASSERT(initialized != 0, "Communicator::world() before MpiSession");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int rank = 0;
  int size = 1;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank", 0);
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size", rank);
  return {opaque(MPI_COMM_WORLD), rank, size};
}

Communicator Communicator::self() {
  return {nullptr, 0, 1};
}

void Communicator::barrier() const {
  const InCollective here("MPI_Barrier");
  if (comm_ != nullptr) check(MPI_Barrier(handle(comm_)), "MPI_Barrier", rank_);
}

void Communicator::sum(std::span<std::int64_t> values) const {
  if (comm_ == nullptr) return;
  if (ways_->large_sum != nullptr && values.size() >= large_sum_values) {
    const InCollective here("the sum over devices");
    return ways_->large_sum->sum(values);
  }
  const InCollective here("MPI_Allreduce");
  for_each_chunk(values.size(), [&](std::size_t offset, int count) {
    check(MPI_Allreduce(MPI_IN_PLACE, values.data() + offset, count, MPI_INT64_T, MPI_SUM, handle(comm_)),
          "MPI_Allreduce", rank_);
  });
}

void Communicator::use_for_large_sums(std::shared_ptr<const LargeSum> way) const {
  ways_->large_sum = std::move(way);
}

double Communicator::max(double value) const {
  if (comm_ == nullptr) return value;
  const InCollective here("MPI_Allreduce");
  // MPI_MAX of a NaN is whatever the library's comparison gives, so NaN travels as a flag.
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  std::array<double, 2> flag_and_value{std::isnan(value) ? 1.0 : 0.0, std::isnan(value) ? lowest : value};
  check(MPI_Allreduce(MPI_IN_PLACE, flag_and_value.data(), 2, MPI_DOUBLE, MPI_MAX, handle(comm_)),
        "MPI_Allreduce", rank_);
  return flag_and_value[0] > 0 ? std::numeric_limits<double>::quiet_NaN() : flag_and_value[1];
}

std::int64_t Communicator::max(std::int64_t value) const {
  if (comm_ == nullptr) return value;
  const InCollective here("MPI_Allreduce");
  check(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, handle(comm_)), "MPI_Allreduce", rank_);
  return value;
}

void Communicator::broadcast_bytes(std::span<std::byte> bytes, int root) const {
  BITFALL_ASSERT(root >= 0 && root < size_, "broadcast from rank " + std::to_string(root));
  if (comm_ == nullptr) return;
  const InCollective here("MPI_Bcast");
  for_each_chunk(bytes.size(), [&](std::size_t offset, int count) {
    check(MPI_Bcast(bytes.data() + offset, count, MPI_BYTE, root, handle(comm_)), "MPI_Bcast", rank_);
  });
}

void Communicator::broadcast(std::string& text, int root) const {
  std::int64_t length = static_cast<std::int64_t>(text.size());
  broadcast(std::span(&length, 1), root);
  text.resize(static_cast<std::size_t>(length));
  broadcast(std::span(text), root);
}

std::vector<std::string> Communicator::all_gather(const std::string& text) const {
  if (comm_ == nullptr) return {text};
  const auto ranks = static_cast<std::size_t>(size_);
  std::vector<std::int64_t> lengths(ranks);
  const auto length = static_cast<std::int64_t>(text.size());
  {
    const InCollective here("MPI_Allgather");
    check(MPI_Allgather(&length, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T, handle(comm_)),
          "MPI_Allgather", rank_);
  }
  std::vector<std::string> parts(ranks);
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  if (total > static_cast<std::int64_t>(chunk_elements)) {
    // Too long for one call with int displacements: each rank broadcasts its own part, in pieces.
    for (int root = 0; root < size_; ++root) {
      std::string& part = parts[static_cast<std::size_t>(root)];
      if (root == rank_) part = text;
      broadcast(part, root);
    }
    return parts;
  }
  std::vector<int> counts(lengths.begin(), lengths.end());
  std::vector<int> offsets(ranks, 0);
  std::partial_sum(counts.begin(), counts.end() - 1, offsets.begin() + 1);
  std::string all(static_cast<std::size_t>(total), '\0');
  const InCollective here("MPI_Allgatherv");
  check(MPI_Allgatherv(text.data(), static_cast<int>(length), MPI_BYTE, all.data(), counts.data(),
                       offsets.data(), MPI_BYTE, handle(comm_)),
        "MPI_Allgatherv", rank_);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    parts[rank] = all.substr(static_cast<std::size_t>(offsets[rank]), static_cast<std::size_t>(counts[rank]));
  }
  return parts;
}

void Communicator::guarded(std::string_view what, const std::function<void()>& work) const {
  const AtWork here(what);
  Outcome outcome = run(what, work, rank_);
  // The lowest failing rank speaks: max over -rank, and -size says that all is well.
  const std::int64_t mine = outcome.code == ExitCode::ok ? -size_ : -rank_;
  const auto speaker = static_cast<int>(-max(mine));
  if (speaker == size_) return;
  auto code = static_cast<int>(outcome.code);
  broadcast(std::span(&code, 1), speaker);
  broadcast(outcome.message, speaker);
  outcome.code = static_cast<ExitCode>(code);
  raise(outcome);
}

Communicator::Range Communicator::share(std::int64_t count, int rank, int size) {
  BITFALL_ASSERT(count >= 0 && rank >= 0 && rank < size, "Communicator::share");
  const std::int64_t base = count / size;
  const std::int64_t extra = count % size;  // the first `extra` ranks have one item more
  const std::int64_t first = rank * base + std::min<std::int64_t>(rank, extra);
  return {first, first + base + (rank < extra ? 1 : 0)};
}

}  // namespace bitfall
