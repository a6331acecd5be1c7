// main() of the MPI tests: every rank runs the same tests in the same order; a failure on any rank fails the
// run.
#include <mpi.h>
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.hpp"

// Of the leak sanitizer, where it is linked in.
extern "C" __attribute__((weak)) void __lsan_do_leak_check();

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
// Open MPI unloads the plugins that it does not choose: what they leave could no longer be told from what we
// do (tests/sanitize/lsan.supp goes by the library's name).
extern "C" int dlclose(void*) {
  return 0;
}
#endif
#endif

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  const int failed = Catch::Session().run(argc, argv);
  int worst = 0;
  MPI_Allreduce(&failed, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  // MPI_Finalize forgets what Open MPI keeps to the end.
  if (__lsan_do_leak_check != nullptr) __lsan_do_leak_check();
  MPI_Finalize();
  return worst == 0 ? 0 : 1;
}
