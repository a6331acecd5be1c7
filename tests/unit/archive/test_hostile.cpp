// Hand-made hostile archives: every dataset of a real one in turn is replaced by what no writer makes, and
// the file is sealed again. Each is refused with a sentence, in bounded memory and time, or changes nothing
// that the hash covers.
#include <hdf5.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/hdf5.hpp"
#include "io/archive/layout.hpp"
#include "io/archive/seal.hpp"
#include "io/files/file.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

/// Puts something under `name`, which was removed before.
using Replacement = std::function<void(hid_t file, const char* name)>;

hid_t space_of(const std::vector<hsize_t>& sizes) {
  return H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr);
}

/// A dataset of `type` and `sizes` that was never written to; `list` sets its creation properties.
Replacement dataset(hid_t type, std::vector<hsize_t> sizes, std::function<void(hid_t)> list = {}) {
  return [type, sizes, list](hid_t file, const char* name) {
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    if (list) list(creation);
    const hid_t space = sizes.empty() ? H5Screate(H5S_SCALAR) : space_of(sizes);
    const hid_t made = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    H5Dclose(made);
    H5Sclose(space);
    H5Pclose(creation);
  };
}

std::function<void(hid_t)> chunked(std::vector<hsize_t> chunk, std::function<void(hid_t)> more = {}) {
  return [chunk, more](hid_t list) {
    H5Pset_chunk(list, static_cast<int>(chunk.size()), chunk.data());
    if (more) more(list);
  };
}

hid_t compound() {
  const hid_t type = H5Tcreate(H5T_COMPOUND, 16);
  H5Tinsert(type, "name", 0, H5T_STD_I64LE);
  H5Tinsert(type, "d", 8, H5T_IEEE_F64LE);
  return type;
}

hid_t variable_text() {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  return type;
}

hid_t wide_text() {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, std::size_t{1} << 31);
  return type;
}

void make_cycle(hid_t file, const char* name) {
  const hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "/", group, "up", H5P_DEFAULT, H5P_DEFAULT);
  H5Gclose(group);
}

void make_virtual(hid_t file, const char* name) {
  const hsize_t size = 64;
  const hid_t space = space_of({size});
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_virtual(creation, space, "/etc/passwd", "x", space);
  H5Dclose(H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, creation, H5P_DEFAULT));
  H5Pclose(creation);
  H5Sclose(space);
}

const std::vector<std::pair<std::string, Replacement>>& replacements() {
  constexpr hsize_t huge = hsize_t{1} << 60;
  static const std::vector<std::pair<std::string, Replacement>> all = {
      {"2^60 bytes in chunks", dataset(H5T_STD_U8LE, {huge}, chunked({1 << 16}))},
      {"2^60 values of 8 bytes", dataset(H5T_IEEE_F64LE, {huge}, chunked({1 << 16}))},
      {"2^40 bytes, compressed", dataset(H5T_STD_U8LE, {hsize_t{1} << 40},
                                         chunked({1 << 16}, [](hid_t list) { H5Pset_deflate(list, 9); }))},
      {"a product that overflows",
       dataset(H5T_STD_U8LE, {hsize_t{1} << 40, hsize_t{1} << 40}, chunked({64, 64}))},
      {"a product of 0", dataset(H5T_STD_U8LE, {0, huge}, chunked({1, 64}))},
      {"no value", dataset(H5T_STD_U8LE, {0}, chunked({1}))},
      {"a scalar", dataset(H5T_STD_U8LE, {})},
      {"two dimensions", dataset(H5T_STD_U8LE, {4, 4})},
      {"floats", dataset(H5T_IEEE_F32LE, {16})},
      {"big-endian integers", dataset(H5T_STD_I64BE, {16})},
      {"references", dataset(H5T_STD_REF_OBJ, {16})},
      {"region references", dataset(H5T_STD_REF_DSETREG, {16})},
      {"a foreign row", dataset(compound(), {16})},
      {"texts of any length", dataset(variable_text(), {16})},
      {"texts of 2 GiB", dataset(wide_text(), {huge / (hsize_t{1} << 31)}, chunked({1}))},
      {"lists of any length", dataset(H5Tvlen_create(H5T_STD_U8LE), {16})},
      {"arrays", dataset(
                     [] {
                       const hsize_t size = 1 << 20;
                       return H5Tarray_create2(H5T_STD_U8LE, 1, &size);
                     }(),
                     {16})},
      {"opaque bytes", dataset(H5Tcreate(H5T_OPAQUE, 16), {16})},
      {"an enumeration", dataset(H5Tenum_create(H5T_STD_U8LE), {16})},
      {"another file's bytes",
       dataset(H5T_STD_U8LE, {64}, [](hid_t l) { H5Pset_external(l, "/etc/passwd", 0, 64); })},
      {"checksums",
       dataset(H5T_STD_U8LE, {1 << 16}, chunked({1 << 12}, [](hid_t l) { H5Pset_fletcher32(l); }))},
      {"an unknown filter",
       dataset(H5T_STD_U8LE, {1 << 16},
               chunked({1 << 12}, [](hid_t l) { H5Pset_filter(l, 32123, H5Z_FLAG_OPTIONAL, 0, nullptr); }))},
      {"n-bit packing",
       dataset(H5T_STD_U8LE, {1 << 16}, chunked({1 << 12}, [](hid_t l) { H5Pset_nbit(l); }))},
      {"deflate three times", dataset(H5T_STD_U8LE, {1 << 16},
                                      chunked({1 << 12},
                                              [](hid_t l) {
                                                for (int i = 0; i < 3; ++i) H5Pset_deflate(l, 1);
                                              }))},
      {"a group",
       [](hid_t f, const char* n) { H5Gclose(H5Gcreate2(f, n, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); }},
      {"a group that holds itself", make_cycle},
      {"a named type",
       [](hid_t f, const char* n) { H5Tcommit2(f, n, compound(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT); }},
      {"a link to itself", [](hid_t f, const char* n) { H5Lcreate_soft(n, f, n, H5P_DEFAULT, H5P_DEFAULT); }},
      {"a link to another dataset",
       [](hid_t f, const char* n) { H5Lcreate_soft("/plan", f, n, H5P_DEFAULT, H5P_DEFAULT); }},
      {"a link into another file",
       [](hid_t f,
          const char* n) { H5Lcreate_external("/etc/passwd", "/x", f, n, H5P_DEFAULT, H5P_DEFAULT); }},
      {"a virtual dataset", make_virtual},
      {"nothing", [](hid_t, const char*) {}}};
  return all;
}

std::vector<std::string> dataset_names(const std::string& path) {
  std::vector<std::string> names;
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  H5Literate(
      file, H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, const char* name, const H5L_info_t*, void* found) -> herr_t {
        static_cast<std::vector<std::string>*>(found)->emplace_back(name);
        return 0;
      },
      &names);
  H5Fclose(file);
  return names;
}

// The address sanitizer reserves terabytes. GCC says that it is there by a macro, clang by a feature.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool limits_memory = false;
#elif defined(__clang__)
constexpr bool limits_memory = !__has_feature(address_sanitizer);
#else
constexpr bool limits_memory = true;
#endif

/// Lets this process take `more` bytes and no more than that.
void limit_memory(std::int64_t more) {
  long pages = 0;
  if (FILE* statm = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(statm, "%ld", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  const auto limit = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + more);
  const rlimit memory{limit, limit};
  ::setrlimit(RLIMIT_AS, &memory);
}

/// 0: refused with a sentence that names the file; 1: accepted with the same content; else wrong. In a
/// process that may take no more memory than readers promise.
int outcome(const std::string& bytes, const std::string& content_sha256) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (limits_memory) limit_memory(2 * layout::most_declared_bytes(static_cast<std::int64_t>(bytes.size())));
    ::alarm(20);
    try {
      const bool same = content_hash(parse_archive(bytes, "folder/a.h5")) == content_sha256;
      ::_exit(same ? 1 : 2);
    } catch (const DataError& error) {
      ::_exit(std::string(error.what()).starts_with("folder/a.h5") ? 0 : 3);
    } catch (...) {
      ::_exit(4);
    }
  }
  int status = -1;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100 + status;
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("hand-made hostile archives are refused in bounded memory, or harmless") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.h5").string();
  Archive archive;
  archive.layers.push_back(random_layer("conv", {8, 2, 3, 3}, 9, 5, 1));
  archive.kept.push_back(random_tensor("bn.weight", {64}, 3));
  archive.plan_json = "{}";
  archive.provenance_json = "{}";
  write_archive(archive, path);
  std::string sound = read_file(path);
  sound.resize(sound.size() - static_cast<std::size_t>(seal_bytes));
  const hdf5::QuietErrors quiet;
  const std::vector<std::string> names = dataset_names(path);
  REQUIRE(names.size() >= 8);
  int refused = 0;
  // Closing the file closes what a replacement has left open; else the next one would meet this one's state.
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  for (const std::string& name : names) {
    for (const auto& [what, replace] : replacements()) {
      write_bytes(path, sound);
      const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, access);
      REQUIRE(file >= 0);
      REQUIRE(H5Ldelete(file, name.c_str(), H5P_DEFAULT) >= 0);
      replace(file, name.c_str());
      REQUIRE(H5Fclose(file) >= 0);
      const std::string image = read_file(path);
      const int found = outcome(image + make_seal(image), archive.content_sha256);
      INFO("'" << name << "' replaced by " << what << ": " << found);
      CHECK((found == 0 || found == 1));
      refused += found == 0 ? 1 : 0;
    }
  }
  H5Pclose(access);
  // Few replacements are what a dataset may be: no bytes of model, say.
  CHECK(refused >= static_cast<int>(names.size() * replacements().size() * 9 / 10));
}

// The figure: 200 lengths, 2,000 bits; on the disk, as users meet it.
TEST_CASE("2,000 random bits and 200 lengths of an archive on the disk are refused and the file is named") {
  const TemporaryFolder folder;
  const std::string path = (folder / "a.h5").string();
  Archive archive = sample_archive();
  write_archive(archive, path);
  const std::string bytes = read_file(path);
  int accepted = 0;
  const auto try_it = [&](const std::string& damaged) {
    write_bytes(path, damaged);
    try {
      (void)read_archive(path);
      ++accepted;
    } catch (const DataError& error) {
      if (std::string(error.what()).find(path) == std::string::npos) FAIL(error.what());
    }
  };
  std::mt19937_64 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    const std::size_t bit = random() % (8 * bytes.size());
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    try_it(damaged);
  }
  for (std::size_t i = 0; i < 200; ++i) try_it(bytes.substr(0, i * bytes.size() / 200));
  CHECK(accepted == 0);
}
