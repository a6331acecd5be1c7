// What `bitfall inspect` shows, as JSON and as a table.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "bitfall/archive.hpp"
#include "catch.hpp"
#include "io/archive/describe.hpp"
#include "io/files/sha256.hpp"
#include "sample_archive.hpp"

using namespace bitfall;
using Json = nlohmann::json;

namespace {

ArchiveBytes write(Archive& archive) {
  const TemporaryFolder folder;
  return write_archive(archive, folder / "a.h5");
}

}  // namespace

TEST_CASE("the JSON description has every layer, tensor and part") {
  Archive archive = sample_archive();
  const ArchiveBytes bytes = write(archive);
  const Json json = Json::parse(describe_json(archive, bytes));
  CHECK(json["content_sha256"] == archive.content_sha256);
  REQUIRE(json["layers"].size() == 6);
  const Json& layer = json["layers"][2];
  CHECK(layer["name"] == "layer2.0.conv2");
  CHECK(layer["weight"] == "layer2.0.conv2.weight");
  CHECK(layer["kind"] == "convolution");
  CHECK(layer["shape"] == Json({64, 32, 3, 3}));
  CHECK(layer["groups"] == 2);
  CHECK(layer["d"] == 18);
  CHECK(layer["k"] == 256);
  CHECK(layer["n"] == 64 * 32 * 9 / 18);
  CHECK(layer["metric"] == "euclidean");
  CHECK(layer["code_bits"] == 8);
  CHECK(layer["codes_bytes"] == 1024);
  CHECK(layer["coding"] == "packed");
  CHECK(layer["coded_bytes"] == 1024);
  CHECK(layer["entropy_bits"] == code_entropy(archive.layers[2].codes, 256));
  CHECK(layer["codebook_type"] == "fp16");
  CHECK(layer["codebook_bytes"] == 2 * 256 * 18);
  const Json& skewed = json["layers"][4];
  CHECK(skewed["coding"] == "rans");
  CHECK(skewed["codes_bytes"] == 4096 * 5 / 8);
  CHECK(skewed["coded_bytes"] == encode_codes(archive.layers[4].codes, 30).bytes.size());
  CHECK(skewed["coded_bytes"] < skewed["codes_bytes"]);
  CHECK(json["layers"][5]["codebook_type"] == "int8");
  CHECK(json["layers"][5]["codebook_bytes"] == 6 * 4 + 6 + 4);
  // With 8 bits a code is a byte.
  std::string codes;
  for (const std::uint16_t code : archive.layers[2].codes) codes += static_cast<char>(code);
  CHECK(layer["codes_sha256"] == to_hex(sha256(codes)));
  CHECK(layer["iterations"] == 12);
  CHECK(layer["first_objective"] == archive.layers[2].iterations.front().objective);
  CHECK(layer["last_objective"] == archive.layers[2].iterations.back().objective);
  CHECK(json["layers"][1]["code_bits"] == 0);
  CHECK(json["layers"][1]["codes_bytes"] == 0);
  CHECK(json["layers"][1]["first_objective"].is_null());
  CHECK(json["kept_tensors"] == 6);
  CHECK(json["kept"][1]["dtype"] == "float32");
  CHECK(json["kept"][1]["stored_dtype"] == "float16");
  CHECK(json["kept"][1]["bytes"] == 32);
  CHECK(json["kept"][4]["sha256"] == to_hex(sha256(std::string_view("\1\0\1", 3))));
  CHECK(json["information"]["information_bytes"] == 1000);
  CHECK(json["provenance"]["world_size"] == 2);
  std::int64_t parts = 0;
  for (const char* part : {"codes", "codebooks", "kept", "model", "provenance", "overhead"})
    parts += json["bytes"][part].get<std::int64_t>();
  CHECK(json["bytes"]["file"] == bytes.file);
  CHECK(parts == bytes.file);
}

TEST_CASE("texts that are not JSON or not UTF-8 are described all the same") {
  Archive archive = sample_archive();
  archive.plan_json = "no JSON";
  archive.provenance_json = "";
  archive.layers[0].name = "caf\xe9";
  const ArchiveBytes bytes = write(archive);
  const Json json = Json::parse(describe_json(archive, bytes));
  CHECK(json["plan"] == "no JSON");
  CHECK(json["provenance"] == "");
  CHECK(json["information"].is_null());
  CHECK(json["layers"][0]["name"] == "caf\xef\xbf\xbd");
  CHECK(describe_table(archive, bytes).find("by the plan") == std::string::npos);
  const Archive nothing;
  CHECK(Json::parse(describe_json(nothing, {}))["layers"] == Json::array());
  CHECK(describe_table(nothing, {}).find("0 layers quantized") != std::string::npos);
}

TEST_CASE("the table has a line for each layer and part, and no line break at its end") {
  Archive archive = sample_archive();
  const ArchiveBytes bytes = write(archive);
  const std::string text = describe_table(archive, bytes);
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  CHECK(line.starts_with("layer "));
  for (const QuantizedLayer& layer : archive.layers) {
    std::getline(lines, line);
    CHECK(line.starts_with(layer.name + " "));
    CHECK(line.find(" " + std::to_string(layer.codes.size()) + " ") != std::string::npos);
  }
  for (const char* words : {"64x32x3x3", "6 layers quantized, 6 tensors kept (1783 bytes)", "overhead",
                            "1000 bytes", "  rans  ", "  packed  "})
    CHECK(text.find(words) != std::string::npos);
  CHECK(text.find(std::to_string(bytes.file) + " bytes") != std::string::npos);
  CHECK(text.ends_with("content sha256 " + archive.content_sha256));
}

// JSON that nests deeper than any stack is a text like any other: copying or printing it as JSON would
// recurse.
TEST_CASE("a plan and a provenance of a million brackets are described as text") {
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  Archive archive = sample_archive();
  archive.plan_json = archive.provenance_json = deep;
  const ArchiveBytes bytes = write(archive);
  const Json json = Json::parse(describe_json(archive, bytes));
  CHECK(json["plan"] == deep);
  CHECK(json["provenance"] == deep);
  CHECK(json["information"].is_null());
  CHECK(describe_table(archive, bytes).find("information") == std::string::npos);
  std::string nested = "1";
  for (int depth = 0; depth < 50; ++depth) nested = R"({"a":[)" + nested + "]}";
  archive.plan_json = nested;
  CHECK(Json::parse(describe_json(archive, write(archive)))["plan"] == Json::parse(nested));
}
