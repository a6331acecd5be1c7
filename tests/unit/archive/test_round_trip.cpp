// What is written is read back, and equal archives are equal bytes.
#include <cstdint>
#include <filesystem>
#include <string>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/hdf5_file.hpp"
#include "io/archive/seal.hpp"
#include "io/files/file.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

/// Writes the archive and returns the file's bytes.
std::string written(Archive& archive) {
  const TemporaryFolder folder;
  write_archive(archive, folder / "a.h5");
  return read_file(folder / "a.h5");
}

void check_refused(const Archive& archive, const std::string& words) {
  const TemporaryFolder folder;
  Archive copy = archive;
  try {
    write_archive(copy, folder / "a.h5");
    FAIL("accepted, expected an error with '" + words + "'");
  } catch (const DataError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(words) != std::string::npos);
  }
  CHECK(folder.names().empty());
}

}  // namespace

TEST_CASE("an archive is read back as it was written") {
  const TemporaryFolder folder;
  Archive archive = sample_archive();
  const ArchiveBytes bytes = write_archive(archive, folder / "a.h5");
  CHECK(folder.names() == std::vector<std::string>{"a.h5"});
  CHECK(archive.content_sha256.size() == 64);
  CHECK(difference(archive, read_archive(folder / "a.h5")).empty());
  CHECK(difference(archive, parse_archive(read_file(folder / "a.h5"), "x")).empty());
  CHECK(is_hdf5(folder / "a.h5"));
  CHECK(bytes.file == static_cast<std::int64_t>(std::filesystem::file_size(folder / "a.h5")));
  CHECK(bytes.file ==
        bytes.codes + bytes.codebooks + bytes.kept + bytes.model + bytes.provenance + bytes.overhead);
  CHECK(bytes.codes > 0);
  CHECK(bytes.overhead > 0);
  CHECK(bytes.model < 1000);  // zeros compress
  const ArchiveBytes again = archive_bytes(folder / "a.h5");
  CHECK(again.file == bytes.file);
  CHECK(again.overhead == bytes.overhead);
}

TEST_CASE("an archive of nothing and an archive that compresses extremely are read back") {
  const TemporaryFolder folder;
  Archive nothing;
  write_archive(nothing, folder / "a.h5");
  CHECK(difference(nothing, read_archive(folder / "a.h5")).empty());
  // 80 MB of zeros become 80 KB: more than 64 MiB + 256 times the file's size, which readers refuse, so it
  // must be stored without compression.
  Archive zeros;
  zeros.kept.push_back({"zeros", "uint8", {100'000'000}, "uint8", std::vector<std::uint8_t>(100'000'000)});
  write_archive(zeros, folder / "z.h5");
  CHECK(std::filesystem::file_size(folder / "z.h5") > 100'000'000);
  CHECK(read_archive(folder / "z.h5").kept.at(0).bytes == zeros.kept[0].bytes);
  Archive same;  // 10 million equal codes: 20 MB in memory, some 30 bytes coded
  same.layers.push_back(random_layer("same", {10'000'000, 1}, 1, 2, 1));
  same.layers[0].codes.assign(10'000'000, 1);
  write_archive(same, folder / "s.h5");
  CHECK(difference(same, read_archive(folder / "s.h5")).empty());
}

TEST_CASE("constants take one element, whatever their size") {
  const TemporaryFolder folder;
  Archive archive;
  archive.kept.push_back({"var", "float32", {1000}, "float32", {}});
  for (int i = 0; i < 1000; ++i)
    archive.kept[0].bytes.insert(archive.kept[0].bytes.end(), {0x58, 0xff, 0x7f, 0x3f});
  archive.kept.push_back({"pair", "int8", {2}, "int8", {5, 5}});
  archive.kept.push_back({"almost", "int8", {3}, "int8", {5, 5, 6}});
  archive.kept.push_back({"scalar", "int16", {}, "int16", {1, 1}});
  CHECK(is_constant(archive.kept[0]));
  CHECK(is_constant(archive.kept[1]));
  CHECK_FALSE(is_constant(archive.kept[2]));
  CHECK_FALSE(is_constant(archive.kept[3]));
  const ArchiveBytes bytes = write_archive(archive, folder / "a.h5");
  CHECK(difference(archive, read_archive(folder / "a.h5")).empty());
  CHECK(bytes.kept == 4 + 1 + 3 + 2);
}

TEST_CASE("datasets larger than one chunk are read back") {
  const TemporaryFolder folder;
  Archive archive;
  archive.kept.push_back(random_tensor("large", {9'000'000}, 1));
  write_archive(archive, folder / "a.h5");
  CHECK(difference(archive, read_archive(folder / "a.h5")).empty());
}

TEST_CASE("equal archives are equal bytes, whenever they are written and whatever their seconds are") {
  Archive archive = sample_archive();
  const std::string first = written(archive);
  CHECK(written(archive) == first);

  Archive slower = sample_archive();
  for (QuantizedLayer& layer : slower.layers) {
    for (KmeansIteration& iteration : layer.iterations) iteration.seconds += 1;
  }
  slower.provenance_json = R"({"version":"0.1.0","world_size":4,"host":"another"})";
  const std::string second = written(slower);
  CHECK(slower.content_sha256 == archive.content_sha256);
  const hdf5::QuietErrors quiet;
  hdf5::Reader one(unseal(first, "first"), 1 << 30);
  hdf5::Reader other(unseal(second, "second"), 1 << 30);
  for (const char* name : {"codes", "kept_data", "plan", "model"})
    CHECK(one.bytes(name) == other.bytes(name));
  for (const char* name : {"layers", "iterations", "kept"}) {
    const Table a = one.table(name);
    const Table b = other.table(name);
    CHECK(std::equal(a.data().begin(), a.data().end(), b.data().begin(), b.data().end()));
  }
  CHECK(one.bytes("provenance") != other.bytes("provenance"));
}

TEST_CASE("an archive that contradicts itself is not written, and the error names the culprit") {
  const Archive good = sample_archive();
  const auto broken = [&](auto change) {
    Archive archive = good;
    change(archive);
    return archive;
  };
  check_refused(broken([](Archive& a) { a.layers[0].codes[3] = 5; }), "layer1.0.conv1");
  check_refused(broken([](Archive& a) { a.layers[2].codes.pop_back(); }), "layer2.0.conv2");
  check_refused(broken([](Archive& a) { a.layers[2].codebook.pop_back(); }), "codebook");
  check_refused(broken([](Archive& a) { a.layers[2].codebook[7] = 0x7c01; }), "NaN");
  check_refused(broken([](Archive& a) { a.layers[5].codebook[7] = 0x7c00; }), "infinite");
  check_refused(broken([](Archive& a) { a.layers[5].codebook[7] ^= 1; }),
                "layer 'int8': codeword 1 of an int8 codebook");
  check_refused(broken([](Archive& a) { a.layers[5].codebook_scale = -1; }), "positive");
  check_refused(broken([](Archive& a) { a.layers[2].d = 7; }), "divide");
  check_refused(broken([](Archive& a) { a.layers[2].weight_shape[0] = -1; }), "size -1");
  check_refused(broken([](Archive& a) { a.layers[1].name = a.layers[0].name; }), "occurs twice");
  check_refused(broken([](Archive& a) { a.kept[0].name = "fc.weight"; }), "'fc.weight' occurs twice");
  check_refused(broken([](Archive& a) { a.kept[0].name = ""; }), "empty name");
  check_refused(broken([](Archive& a) { a.kept[0].name = std::string("a\0b", 3); }), "zero byte");
  check_refused(broken([](Archive& a) { a.kept[0].name = std::string(1025, 'a'); }), "1024");
  check_refused(broken([](Archive& a) { a.kept[0].bytes.pop_back(); }), "conv1.weight");
  check_refused(broken([](Archive& a) { a.kept[0].dtype = a.kept[0].stored_dtype = "float33"; }), "float33");
  check_refused(broken([](Archive& a) { a.kept[0].stored_dtype = "int32"; }), "can't be stored");
}
