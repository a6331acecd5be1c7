// Files that are whole and sealed but not what docs/format.md says: each is refused with the reason.
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "io/archive/hdf5_file.hpp"
#include "io/archive/memory_file.hpp"
#include "io/archive/seal.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

namespace {

using Type = Column::Type;

/// What goes into a file by hand: one layer of four codes with k = 3, one iteration, one kept byte.
struct Content {
  std::string magic = "bitfall";
  std::int64_t version_major = 1, version_minor = 0;
  std::string left_out;  ///< the name of a dataset
  std::string kind = "linear", metric = "euclidean";
  std::int64_t dimensions = 2, rows = 2, groups = 1, d = 2, k = 3, iterations = 1;
  std::string coding = "packed";
  std::vector<std::uint8_t> codes{0b10'01'00'10};
  std::int64_t codes_bytes = 1;
  double codebook_scale = 0;
  std::vector<std::int8_t> integers;
  std::vector<std::uint16_t> codebook{1, 2, 3, 4, 5, 6};
  std::vector<float> seconds{0.5F};
  std::string dtype = "uint8", stored_dtype = "uint8";
  std::int64_t kept_elements = -1;  ///< negative: a scalar
  std::int64_t constant = 0;
  std::vector<std::uint8_t> kept_data{7};
  std::string content_sha256;  ///< of `expected()` when empty
  bool extra = false;          ///< an unknown column, dataset and attribute
};

Archive expected() {
  Archive archive;
  QuantizedLayer layer;
  layer.name = "fc";
  layer.weight_name = "fc.weight";
  layer.kind = LayerKind::linear;
  layer.weight_shape = {2, 4};
  layer.d = 2;
  layer.k = 3;
  layer.metric = Metric::euclidean;
  layer.codes = {2, 0, 1, 2};
  layer.codebook = {1, 2, 3, 4, 5, 6};
  layer.iterations.push_back({1.5, 4, 0, 0.5});
  archive.layers.push_back(layer);
  archive.kept.push_back({"step", "uint8", {}, "uint8", {7}});
  archive.plan_json = "{}";
  archive.content_sha256 = content_hash(archive);
  return archive;
}

Table layers_table(const Content& content) {
  std::vector<Column> columns{
      {"name", Type::text, 2},        {"weight_name", Type::text, 9}, {"kind", Type::text, 11},
      {"metric", Type::text, 10},     {"dimensions", Type::integer},  {"shape", Type::integer, 2},
      {"groups", Type::integer},      {"d", Type::integer},           {"k", Type::integer},
      {"codebook_scale", Type::real}, {"coding", Type::text, 7},      {"codes_bytes", Type::integer},
      {"iterations", Type::integer}};
  if (content.extra) columns.insert(columns.begin(), {"weather", Type::real});
  Table table("layers", columns, 1);
  table.set(0, "name", std::string_view("fc"));
  table.set(0, "weight_name", std::string_view("fc.weight"));
  table.set(0, "kind", std::string_view(content.kind));
  table.set(0, "metric", std::string_view(content.metric));
  table.set(0, "dimensions", content.dimensions);
  table.set(0, "shape", std::vector<std::int64_t>{content.rows, 4});
  table.set(0, "groups", content.groups);
  table.set(0, "d", content.d);
  table.set(0, "k", content.k);
  table.set_real(0, "codebook_scale", content.codebook_scale);
  table.set(0, "coding", std::string_view(content.coding));
  table.set(0, "codes_bytes", content.codes_bytes);
  table.set(0, "iterations", content.iterations);
  return table;
}

Table iterations_table() {
  Table table("iterations",
              {{"objective", Type::real}, {"moved", Type::integer}, {"refilled", Type::integer}}, 1);
  table.set_real(0, "objective", 1.5);
  table.set(0, "moved", std::int64_t{4});
  return table;
}

Table kept_table(const Content& content) {
  Table table("kept",
              {{"name", Type::text, 4},
               {"dtype", Type::text, 8},
               {"stored_dtype", Type::text, 8},
               {"dimensions", Type::integer},
               {"shape", Type::integer},
               {"constant", Type::integer}},
              1);
  table.set(0, "name", std::string_view("step"));
  table.set(0, "dtype", std::string_view(content.dtype));
  table.set(0, "stored_dtype", std::string_view(content.stored_dtype));
  if (content.kept_elements >= 0) {
    table.set(0, "dimensions", std::int64_t{1});
    table.set(0, "shape", content.kept_elements);
  }
  table.set(0, "constant", content.constant);
  return table;
}

/// A sealed file.
std::string file_of(const Content& content) {
  hdf5::Writer writer(true);
  writer.attribute("magic", content.magic);
  writer.attribute("version_major", content.version_major);
  writer.attribute("version_minor", content.version_minor);
  writer.attribute("content_sha256",
                   content.content_sha256.empty() ? expected().content_sha256 : content.content_sha256);
  const auto put = [&](const std::string& name, auto write) {
    if (name != content.left_out) write();
  };
  put("layers", [&] { writer.dataset(layers_table(content)); });
  put("codes", [&] { writer.dataset("codes", content.codes); });
  put("codebooks", [&] { writer.half_dataset("codebooks", content.codebook); });
  put("codebooks_int8", [&] { writer.dataset("codebooks_int8", content.integers); });
  put("iterations", [&] { writer.dataset(iterations_table()); });
  put("kept", [&] { writer.dataset(kept_table(content)); });
  put("kept_data", [&] { writer.dataset("kept_data", content.kept_data); });
  put("plan", [&] { writer.dataset("plan", std::string_view("{}")); });
  put("model", [&] { writer.dataset("model", std::string_view()); });
  put("provenance", [&] { writer.dataset("provenance", std::string_view()); });
  put("provenance_seconds", [&] { writer.dataset("provenance_seconds", content.seconds); });
  if (content.extra) {
    writer.attribute("mood", "good");
    writer.dataset("news", std::string_view("more"));
  }
  const std::string image = writer.finish();
  return image + make_seal(image);
}

void check_refused(const std::string& file, const std::string& words) {
  try {
    (void)parse_archive(file, "a.h5");
    FAIL("accepted, expected an error with '" + words + "'");
  } catch (const DataError& error) {
    const std::string text = error.what();
    INFO(text << " / " << words);
    CHECK(text.starts_with("a.h5"));
    CHECK(text.find(words) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a file made by hand is read, and what a newer minor version adds is ignored") {
  CHECK(difference(expected(), parse_archive(file_of({}), "a.h5")).empty());
  Content newer;
  newer.version_minor = 7;
  newer.extra = true;
  CHECK(difference(expected(), parse_archive(file_of(newer), "a.h5")).empty());
}

TEST_CASE("a file made by hand with an int8 codebook, coded codes and a constant is read") {
  Archive archive = expected();
  archive.layers[0].codes = {0, 1, 0, 0};
  archive.layers[0].codebook = {float_to_half(0.25F), float_to_half(-0.5F), 0, 0, 0, float_to_half(31.75F)};
  archive.layers[0].codebook_scale = 0.25F;
  archive.kept[0].shape = {3};
  archive.kept[0].bytes = {7, 7, 7};
  Content content;
  content.codebook.clear();
  content.codebook_scale = 0.25;
  content.integers = {0, 3, 0, 1, -2, 0, 0, 0, 127};  // exponents first
  content.coding = "rans";
  // The table of coded_codes_test.cpp; the codes from the last: 65536; 0: 4 * 21845 + 1 = 87381;
  // 0: 4 * 29127 = 116508; 1: 4 * 116508 + 3 = 466035; 0: 4 * 155345 = 621380 = 0x97b44.
  content.codes = {2, 0, 0x4b, 0, 0x44, 0x7b, 0x09, 0};
  content.codes_bytes = 8;
  content.kept_elements = 3;
  content.constant = 1;
  content.content_sha256 = content_hash(archive);
  archive.content_sha256 = content.content_sha256;
  CHECK(difference(archive, parse_archive(file_of(content), "a.h5")) == "");
  content.codes.pop_back();
  content.codes_bytes = 7;
  check_refused(file_of(content), "layer 'fc': coded codes");
}

TEST_CASE("whatever contradicts the specification is refused") {
  const std::vector<std::pair<std::string, std::function<void(Content&)>>> changes = {
      {"not an archive", [](Content& c) { c.magic = "bitfalk"; }},
      {"the archive has format 2.0, this bitfall reads format 1; install a newer bitfall",
       [](Content& c) { c.version_major = 2; }},
      {"impossible", [](Content& c) { c.version_major = 0; }},
      {"impossible", [](Content& c) { c.version_minor = -1; }},
      {"content_sha256", [](Content& c) { c.content_sha256 = std::string(64, '0'); }},
      {"unknown kind 'pooling'", [](Content& c) { c.kind = "pooling"; }},
      {"layer 'fc'", [](Content& c) { c.metric = "manhattan"; }},
      {"another number of values", [](Content& c) { c.dimensions = 1; }},
      {"another number of values", [](Content& c) { c.dimensions = 3; }},
      {"size 0", [](Content& c) { c.rows = 0; }},
      {"size -2", [](Content& c) { c.rows = -2; }},
      {"claims far more", [](Content& c) { c.rows = std::int64_t{1} << 38; }},
      {"impossibly large", [](Content& c) { c.rows = std::int64_t{1} << 61; }},
      {"0 groups", [](Content& c) { c.groups = 0; }},
      {"groups", [](Content& c) { c.groups = 3; }},
      {"does not divide", [](Content& c) { c.d = 3; }},
      {"does not divide", [](Content& c) { c.d = 0; }},
      {"k 0", [](Content& c) { c.k = 0; }},
      {"k 65537", [](Content& c) { c.k = 65537; }},
      {"more iterations", [](Content& c) { c.iterations = 2; }},
      {"belong to no layer", [](Content& c) { c.iterations = 0; }},
      {"more iterations", [](Content& c) { c.iterations = -1; }},
      {"differ in number", [](Content& c) { c.seconds.clear(); }},
      {"needs more", [](Content& c) { c.codes.clear(); }},
      {"needs more", [](Content& c) { c.codes_bytes = 2; }},
      {"needs more", [](Content& c) { c.codes_bytes = -1; }},
      {"layer 'fc': packed codes: 4 codes of 2 bits need 1 bytes, found 0",
       [](Content& c) { c.codes_bytes = 0; }},
      {"unknown coding 'huffman'", [](Content& c) { c.coding = "huffman"; }},
      {"layer 'fc': coded codes", [](Content& c) { c.coding = "rans"; }},
      {"codebook_scale", [](Content& c) { c.codebook_scale = -0.5; }},
      {"codebook_scale", [](Content& c) { c.codebook_scale = std::numeric_limits<double>::infinity(); }},
      {"codebook_scale", [](Content& c) { c.codebook_scale = 0.1; }},  // no float32
      {"left of 'codebooks_int8'", [](Content& c) { c.codebook_scale = 0.5; }},
      {"'codebooks_int8' has data", [](Content& c) { c.integers.push_back(1); }},
      {"codeword that is infinite",
       [](Content& c) {
         c.codebook_scale = 65536;
         c.integers = {0, 0, 0, 1, 1, 1, 1, 1, 1};
         c.codebook.clear();
       }},
      {"layer 'fc' has a codeword with the exponent 16",
       [](Content& c) {
         c.codebook_scale = 0.5;
         c.integers = {0, 16, 0, 1, 1, 1, 1, 1, 1};
         c.codebook.clear();
       }},
      {"layer 'fc' has a codeword with the exponent -1",
       [](Content& c) {
         c.codebook_scale = 0.5;
         c.integers = {-1, 0, 0, 1, 1, 1, 1, 1, 1};
         c.codebook.clear();
       }},
      {"can't be constant", [](Content& c) { c.constant = 2; }},
      {"can't be constant",
       [](Content& c) {
         c.constant = 1;
         c.kept_elements = 0;
       }},
      {"claims far more",
       [](Content& c) {
         c.constant = 1;
         c.kept_elements = std::int64_t{1} << 39;
       }},
      {"can't be constant", [](Content& c) { c.constant = -1; }},
      {"belong to nothing", [](Content& c) { c.codes.push_back(0); }},
      {"code 3", [](Content& c) { c.codes[0] = 0b11; }},
      {"needs more", [](Content& c) { c.codebook.pop_back(); }},
      {"belong to nothing", [](Content& c) { c.codebook.push_back(0); }},
      {"infinite", [](Content& c) { c.codebook[1] = 0xfc00; }},
      {"'step'", [](Content& c) { c.dtype = "int8"; }},
      {"float33", [](Content& c) { c.dtype = c.stored_dtype = "float33"; }},
      {"needs more", [](Content& c) { c.dtype = c.stored_dtype = "int16"; }},
      {"belong to nothing", [](Content& c) { c.kept_data.push_back(0); }}};
  for (const auto& [words, change] : changes) {
    Content content;
    change(content);
    check_refused(file_of(content), words);
  }
  for (const char* name : {"layers", "codes", "codebooks", "codebooks_int8", "iterations", "kept",
                           "kept_data", "plan", "model", "provenance", "provenance_seconds"}) {
    Content content;
    content.left_out = name;
    check_refused(file_of(content), std::string("'") + name + "' is missing");
  }
}

// k = 5 takes 3 bits, so 8 codes end on a byte and 4 don't: the other 4 bits must be zero.
TEST_CASE("padding bits that are not zero are refused") {
  Content content;
  content.k = 5;
  content.codebook.resize(10);
  content.codes_bytes = 2;
  content.codes = {0b01'000'010, 0b0001'010'0};
  check_refused(file_of(content), "padding");
}

TEST_CASE("a dataset elsewhere, or one that claims terabytes, is refused") {
  const auto with_plan = [](const std::function<void(hid_t)>& make) {
    hdf5::MemoryFile memory;
    {
      const hdf5::File file = memory.create();
      make(file.id());
    }
    return memory.take();
  };
  const hdf5::QuietErrors quiet;
  const std::string external = with_plan([](hid_t file) {
    hdf5::checked(H5Lcreate_external("/etc/passwd", "/x", file, "plan", H5P_DEFAULT, H5P_DEFAULT), "link");
  });
  CHECK_THROWS_AS(hdf5::Reader(external, 1 << 20).bytes("plan"), DataError);
  const std::string soft = with_plan([](hid_t file) {
    hdf5::checked(H5Lcreate_soft("/plan", file, "plan", H5P_DEFAULT, H5P_DEFAULT), "link");
  });
  CHECK_THROWS_AS(hdf5::Reader(soft, 1 << 20).bytes("plan"), DataError);

  const auto dataset = [&](hsize_t count, const std::function<void(hid_t)>& layout) {
    return with_plan([&](hid_t file) {
      const hdf5::Dataspace space(H5Screate_simple(1, &count, nullptr), "space");
      const hdf5::PropertyList creation(H5Pcreate(H5P_DATASET_CREATE), "list");
      layout(creation.id());
      const hdf5::Dataset made(
          H5Dcreate2(file, "plan", H5T_STD_U8LE, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
          "dataset");
    });
  };
  const hsize_t chunk = 1 << 16;
  const auto chunked = [&](hid_t list) { hdf5::checked(H5Pset_chunk(list, 1, &chunk), "chunk"); };
  // Never written: HDF5 itself would answer with zeros.
  CHECK_THROWS_AS(hdf5::Reader(dataset(hsize_t{1} << 42, chunked), 1 << 20).bytes("plan"), DataError);
  CHECK_THROWS_AS(hdf5::Reader(dataset(1 << 18, chunked), 1 << 20).bytes("plan"), DataError);
  const auto elsewhere = [](hid_t list) {
    hdf5::checked(H5Pset_external(list, "/etc/passwd", 0, 100), "external");
  };
  CHECK_THROWS_AS(hdf5::Reader(dataset(100, elsewhere), 1 << 20).bytes("plan"), DataError);
  const auto filtered = [&](hid_t list) {
    chunked(list);
    hdf5::checked(H5Pset_fletcher32(list), "filter");
  };
  CHECK_THROWS_AS(hdf5::Reader(dataset(1 << 18, filtered), 1 << 20).bytes("plan"), DataError);
}
