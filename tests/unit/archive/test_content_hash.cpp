// Every field of the content moves the hash; nothing else does.
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bitfall/archive.hpp"
#include "catch.hpp"
#include "io/files/sha256.hpp"
#include "sample_archive.hpp"

using namespace bitfall;

TEST_CASE("SHA-256 gives the published digests") {
  // FIPS 180-4 examples.
  CHECK(to_hex(sha256(std::string_view(""))) ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256(std::string_view("abc"))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 parts;
  parts.add(std::string_view("a"));
  parts.add(std::string_view("bc"));
  CHECK(to_hex(parts.finish()) == to_hex(sha256(std::string_view("abc"))));
}

TEST_CASE("every field of the content changes the content hash") {
  const std::vector<std::pair<const char*, std::function<void(Archive&)>>> changes = {
      {"nothing", [](Archive&) {}},
      {"layer name", [](Archive& a) { a.layers[0].name += "x"; }},
      {"weight name", [](Archive& a) { a.layers[0].weight_name += "x"; }},
      {"kind", [](Archive& a) { a.layers[0].kind = LayerKind::linear; }},
      {"shape", [](Archive& a) { std::swap(a.layers[0].weight_shape[0], a.layers[0].weight_shape[1]); }},
      {"groups", [](Archive& a) { a.layers[0].groups = 2; }},
      {"d", [](Archive& a) { a.layers[0].d = 3; }},
      {"k", [](Archive& a) { a.layers[0].k = 6; }},
      {"metric", [](Archive& a) { a.layers[0].metric = Metric::activation; }},
      {"code", [](Archive& a) { a.layers[0].codes[5] ^= 1; }},
      {"codeword", [](Archive& a) { a.layers[0].codebook[5] ^= 1; }},
      {"codebook scale", [](Archive& a) { a.layers[5].codebook_scale *= 1.0001F; }},
      {"objective", [](Archive& a) { a.layers[0].iterations[1].objective += 1e-9; }},
      {"moved", [](Archive& a) { a.layers[0].iterations[1].moved += 1; }},
      {"refilled", [](Archive& a) { a.layers[0].iterations[1].refilled += 1; }},
      {"iterations", [](Archive& a) { a.layers[0].iterations.pop_back(); }},
      {"order of layers", [](Archive& a) { std::swap(a.layers[0], a.layers[1]); }},
      {"kept name", [](Archive& a) { a.kept[0].name += "x"; }},
      {"kept type", [](Archive& a) { a.kept[0].dtype = "int32"; }},
      {"kept stored type", [](Archive& a) { a.kept[0].stored_dtype = "int32"; }},
      {"kept shape", [](Archive& a) { std::swap(a.kept[0].shape[0], a.kept[0].shape[1]); }},
      {"kept bytes", [](Archive& a) { a.kept[0].bytes[9] ^= 1; }},
      {"order of kept", [](Archive& a) { std::swap(a.kept[0], a.kept[1]); }},
      {"plan", [](Archive& a) { a.plan_json += " "; }},
      // The boundary between two texts must count.
      {"shifted text", [](Archive& a) {
         a.layers[0].weight_name = a.layers[0].name.back() + a.layers[0].weight_name;
         a.layers[0].name.pop_back();
       }}};
  std::set<std::string> hashes;
  for (const auto& [what, change] : changes) {
    Archive archive = sample_archive();
    change(archive);
    INFO(what);
    CHECK(hashes.insert(content_hash(archive)).second);
  }
}

TEST_CASE("model, provenance and times do not change the content hash") {
  Archive archive = sample_archive();
  const std::string before = content_hash(archive);
  archive.model += "x";
  archive.provenance_json += "x";
  archive.content_sha256 = "x";
  for (QuantizedLayer& layer : archive.layers) {
    for (KmeansIteration& iteration : layer.iterations) iteration.seconds += 1;
  }
  CHECK(content_hash(archive) == before);
}
