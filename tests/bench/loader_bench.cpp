// What the loader costs beside bare TurboJPEG, in processor time of one thread.
//
//   loader_bench 'SHARDS-*.tar' [--repeats 5] [--images 500] [--json]
//
// Alternates, over the same images: TurboJPEG decoding alone (one handle, the same flags, into one buffer),
// the loader for evaluation (read, decode, resize, crop, normalise, collate) and the loader for training
// (random resized crops).
#include <turbojpeg.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "bench_time.hpp"
#include "bitfall/images.hpp"

using namespace bitfall;

namespace {

constexpr std::int64_t batch_size = 32;

/// Seconds for decoding all files.
double decode_alone(const std::vector<std::vector<std::uint8_t>>& files) {
  tjhandle handle = tjInitDecompress();
  std::vector<std::uint8_t> pixels;
  const double begin = bench::processor_seconds();
  for (const auto& file : files) {
    int width = 0, height = 0, subsampling = 0, colours = 0;
    tjDecompressHeader3(handle, file.data(), file.size(), &width, &height, &subsampling, &colours);
    pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 4);
    const bool is_cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
    if (tjDecompress2(handle, file.data(), file.size(), pixels.data(), width, 0, height,
                      is_cmyk ? TJPF_CMYK : TJPF_RGB, TJFLAG_ACCURATEDCT) != 0 &&
        tjGetErrorCode(handle) != TJERR_WARNING) {
      std::fprintf(stderr, "loader_bench: %s\n", tjGetErrorStr2(handle));
      std::exit(65);
    }
  }
  const double seconds = bench::processor_seconds() - begin;
  tjDestroy(handle);
  return seconds;
}

/// Seconds of the loader for the first `images` images.
double load(const ShardSet& shards, std::int64_t images, AugmentationKind kind) {
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t i = 0; i < images; i += batch_size) {
    batches.emplace_back(static_cast<std::size_t>(std::min(batch_size, images - i)));
    std::iota(batches.back().begin(), batches.back().end(), i);
  }
  const double begin = bench::processor_seconds();
  BatchLoader loader(shards, preprocessing_from_name("imagenet"), batches, 1, 2, {kind, 1, 0});
  Batch batch;
  std::int64_t seen = 0;
  while (loader.next(batch)) seen += batch.count;
  if (seen != images) std::exit(70);
  return bench::processor_seconds() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    options[name] = name == "--json" || i + 1 == argc ? "1" : argv[++i];
  }
  if (argc < 2) {
    std::fprintf(stderr, "usage: loader_bench 'SHARDS-*.tar' [--repeats 5] [--images 500] [--json]\n");
    return 64;
  }
  const ShardSet shards = ShardSet::open(argv[1]);
  const auto all = static_cast<std::int64_t>(shards.samples().size());
  const std::int64_t images = std::min<std::int64_t>(
      all, options.contains("--images") ? std::atoll(options["--images"].c_str()) : 500);
  const int repeats = options.contains("--repeats") ? std::atoi(options["--repeats"].c_str()) : 5;
  std::vector<std::vector<std::uint8_t>> files;
  for (std::int64_t i = 0; i < images; ++i) files.push_back(shards.read(i));
  std::vector<double> bare, evaluation, training;
  for (int i = 0; i < repeats; ++i) {
    bare.push_back(static_cast<double>(images) / decode_alone(files));
    evaluation.push_back(static_cast<double>(images) / load(shards, images, AugmentationKind::none));
    training.push_back(static_cast<double>(images) / load(shards, images, AugmentationKind::resized_crop));
  }
  const double a = bench::median(bare), b = bench::median(evaluation), c = bench::median(training);
  if (options.contains("--json"))
    std::printf("{\"turbojpeg\": %.6g, \"evaluation\": %.6g, \"training\": %.6g}\n", a, b, c);
  else
    std::printf(
        "images/s of one core: TurboJPEG alone %.0f, loader for evaluation %.0f (%.2f of it), for training "
        "%.0f (%.2f)\n",
        a, b, b / a, c, c / a);
  return 0;
}
