// Writes the seeds of the fuzz targets that are not text: fuzz_seeds CORPUS_FOLDER.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "archive/sample_archive.hpp"
#include "images/sample_images.hpp"
#include "images/tar_builder.hpp"
#include "io/archive/safetensors.hpp"
#include "io/archive/seal.hpp"
#include "io/files/file.hpp"
#include "io/images/shard_index.hpp"
#include "scratch.hpp"

using namespace bitfall;
using bitfall::test::sample_jpeg;
using bitfall::test::tar_end;
using bitfall::test::tar_entry;

namespace {

namespace fs = std::filesystem;

void put(const fs::path& folder, const std::string& name, const std::string& bytes) {
  fs::create_directories(folder);
  write_file_atomically(folder / name, bytes);
}

/// The HDF5 image of an archive, without its seal.
std::string image_of(Archive archive, const fuzz::ScratchFolder& scratch) {
  write_archive(archive, scratch / "a.h5");
  std::string bytes = read_file(scratch / "a.h5");
  bytes.resize(bytes.size() - static_cast<std::size_t>(seal_bytes));
  return bytes;
}

Archive small_archive() {
  Archive archive;
  archive.layers.push_back(random_layer("conv", {8, 2, 3, 3}, 9, 5, 1));
  archive.layers.push_back(random_layer("fc", {16, 16}, 4, 16, 2, 20));
  archive.kept.push_back(random_tensor("bn.weight", {16}, 3));
  archive.kept.push_back({"steps", "int64", {}, "int64", {7, 0, 0, 0, 0, 0, 0, 0}});
  archive.plan_json = "{}";
  archive.model = "TorchScript";
  archive.provenance_json = R"({"version":"0.1.0"})";
  return archive;
}

void archives(const fs::path& corpus, const fuzz::ScratchFolder& scratch) {
  put(corpus / "archive", "small", image_of(small_archive(), scratch));
  Archive one;
  one.layers.push_back(random_layer("layer", {16, 8, 3, 3}, 9, 16, 3));
  one.plan_json = "{}";
  one.provenance_json = "{}";
  put(corpus / "archive", "one_layer", image_of(one, scratch));
  Archive checkpoint = one;
  checkpoint.plan_json =
      R"({"checkpoint":1,"fingerprint":{"job":"fuzz","seed":7},"stage":"layers","progress":{"iteration":3}})";
  put(corpus / "run_file", "checkpoint", std::string(1, '\0') + image_of(checkpoint, scratch));
  put(corpus / "run_file", "state", "\2" + checkpoint.plan_json);
}

void shards(const fs::path& corpus, const fuzz::ScratchFolder& scratch) {
  const std::string tar = tar_entry("a/0.jpg", sample_jpeg(8, 8, 1)) + tar_entry("a/0.cls", "3") +
                          tar_entry("1.cls", "0") + tar_entry("1.jpg", sample_jpeg(6, 9, 2)) + tar_end();
  put(corpus / "tar", "plain", std::string(2, '\0') + tar);
  const ShardFile file(scratch.write("a.tar", tar));
  std::string index = index_text(file, scan_shard(file));
  index.erase(index.rfind("sha256 "));  // the target adds the first two lines and the last
  index.erase(0, index.find('\n', index.find('\n') + 1) + 1);
  put(corpus / "tar", "indexed",
      std::string{static_cast<char>(index.size() % 256), static_cast<char>(index.size() / 256)} + index +
          tar);
  const std::string pax =
      tar_entry("x", test::pax_record("path", "long/" + std::string(120, 'n') + ".jpg"), 'x');
  put(corpus / "tar", "pax",
      std::string(2, '\0') + pax + tar_entry("n.jpg", sample_jpeg(8, 8, 3)) + tar_entry("b.cls", "1") +
          tar_end());
}

void images(const fs::path& corpus) {
  put(corpus / "image", "small", std::string{20, 24, 0, 1} + sample_jpeg(33, 26, 4));
  put(corpus / "image", "as_it_is", std::string{8, 0, 1, 2} + sample_jpeg(16, 16, 5));
}

void tensors(const fs::path& corpus, const fuzz::ScratchFolder& scratch) {
  const std::vector<KeptTensor> some = {random_tensor("conv.weight", {2, 3}, 1),
                                        {"steps", "int64", {}, "int64", {7, 0, 0, 0, 0, 0, 0, 0}},
                                        {"empty", "float32", {0, 4}, "float32", {}}};
  write_safetensors(scratch / "a", some, {{"format", "pt"}});
  put(corpus / "safetensors", "three", read_file(scratch / "a"));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: fuzz_seeds CORPUS_FOLDER\n", stderr);
    return 64;
  }
  const fs::path corpus = argv[1];
  const fuzz::ScratchFolder scratch;
  archives(corpus, scratch);
  shards(corpus, scratch);
  images(corpus);
  tensors(corpus, scratch);
  return 0;
}
