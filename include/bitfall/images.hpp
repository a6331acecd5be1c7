#pragma once
/// Images: WebDataset shards, JPEG decoding, preprocessing, and a prefetching loader.
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "bitfall/pixel_memory.hpp"

namespace bitfall {

/// 8-bit RGB, row major, interleaved.
struct Image {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  ///< height * width * 3
};

/// Decodes a JPEG to RGB as Pillow's `Image.open(..).convert("RGB")` does (grey and CMYK are converted, EXIF
/// orientation is ignored). `name` is used in errors. Throws DataError for anything that is truncated or no
/// JPEG.
[[nodiscard]] Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name);
/// Width and height, from the header alone. Throws DataError as `decode_jpeg` does.
[[nodiscard]] std::array<std::int64_t, 2> jpeg_size(std::span<const std::uint8_t> bytes,
                                                    const std::string& name);
/// Quality 1..100; 4:2:0 chroma as Pillow's default.
[[nodiscard]] std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality);

/// How an image becomes the network's input. Presets: `imagenet` = resize 256, crop 224; `cifar` = as it is,
/// 32 x 32; both with mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225); `detection` = as it is, of any
/// size, values 0 to 1 (torchvision's detectors resize and normalise by themselves).
struct Preprocessing {
  std::string name = "imagenet";
  std::int64_t resize = 256;  ///< short side after the resize; 0: keep the size
  std::int64_t crop = 224;    ///< centred square crop; 0: none, images keep sizes of their own
  std::array<float, 3> mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> std = {0.229F, 0.224F, 0.225F};
  std::int64_t channels = 3;  ///< 3, or 1: ITU-R 601 luma of the RGB image
};
/// `imagenet`, `cifar`, `detection`, or the path of a TOML file with the fields above (any of: base, resize,
/// crop, mean, std, channels). Throws UsageError for an unknown name, ConfigError for a bad file.
[[nodiscard]] Preprocessing preprocessing_from_name(const std::string& name);

/// What training does to images, as torchvision does: resized_crop = RandomResizedCrop(crop) + horizontal
/// flip (ImageNet), shifted_crop = RandomCrop(crop, padding=4) + horizontal flip (CIFAR). A function of
/// (seed, epoch, sample) alone.
enum class AugmentationKind { none, resized_crop, shifted_crop };
struct Augmentation {
  AugmentationKind kind = AugmentationKind::none;
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;  ///< below 2^47; any number that tells passes over the images apart
};
/// auto (by the preprocessing: none without a crop, else shifted_crop without a resize, else resized_crop),
/// none, resized-crop, shifted-crop. Throws UsageError for another name, and for crops where the
/// preprocessing has none.
[[nodiscard]] AugmentationKind augmentation_from_name(const std::string& name,
                                                      const Preprocessing& preprocessing);

/// Pillow's `resize((width, height), Image.BILINEAR)`, byte for byte: an antialiased triangle filter, two
/// passes with 8-bit intermediate and 22-bit fixed-point coefficients.
[[nodiscard]] Image resize_bilinear(const Image& image, std::int64_t width, std::int64_t height);
/// Width and height of the input that `preprocess` makes of an image of this size.
[[nodiscard]] std::array<std::int64_t, 2> input_size(std::int64_t width, std::int64_t height,
                                                     const Preprocessing& preprocessing);
/// torchvision's Resize(short side) + CenterCrop + ToTensor + Normalize. Writes channels x height x width
/// floats. Throws DataError for an image that is smaller than the crop.
void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> out);
/// The same with augmentation in place of resize and centred crop; `index` is the sample's.
void preprocess(const Image& image, const Preprocessing& preprocessing, const Augmentation& augmentation,
                std::int64_t index, std::span<float> out);

/// Images that can't be decoded, of one rank: noted and passed over, up to a number. Thread-safe.
class BadImages {
 public:
  explicit BadImages(std::int64_t most) : most_(most) {}
  /// How many different ones a set may have; 0: the first one is an error.
  [[nodiscard]] std::int64_t most() const { return most_; }
  /// Throws DataError with `reason` when this one is one too many.
  void note(std::int64_t sample, const std::string& reason);
  /// The samples noted so far, ascending.
  [[nodiscard]] std::vector<std::int64_t> samples() const;

 private:
  std::int64_t most_;
  mutable std::mutex mutex_;
  std::set<std::int64_t> noted_;
};

/// One sample of a shard.
struct Sample {
  std::int32_t shard = 0;  ///< index into ShardSet::paths
  std::int32_t label = 0;
  std::int64_t offset = 0, bytes = 0;  ///< of the JPEG inside the tar
  std::string key;
};

/// WebDataset tars (`KEY.jpg` + `KEY.cls`), indexed once, read by sample index. Samples are ordered by shard
/// path, then by position in the tar; so sample i is the same on every rank. docs/shards.md has the rules.
class ShardSet {
 public:
  /// `pattern` is a glob. A shard with an index file beside it (SHARD.idx, written by `pack`) is not read
  /// through. Throws MissingInputError when nothing matches, DataError for a bad tar (file named).
  static ShardSet open(const std::string& pattern);
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }
  [[nodiscard]] const std::vector<std::filesystem::path>& paths() const { return paths_; }
  /// Index files that could not be believed, in one sentence; empty when there were none.
  [[nodiscard]] const std::string& warning() const { return warning_; }
  /// How many shards were opened by their index file.
  [[nodiscard]] std::int64_t indexed() const { return indexed_; }
  /// The JPEG bytes of sample i. Thread-safe (pread). Throws DataError naming shard and key when the shard
  /// has ended or changed there since it was opened.
  [[nodiscard]] std::vector<std::uint8_t> read(std::int64_t index) const;
  /// SHA-256-like fingerprint of keys, labels and sizes, for provenance (hex).
  [[nodiscard]] std::string fingerprint() const;
  /// "SHARD: KEY.jpg", as errors name sample i.
  [[nodiscard]] std::string name_of(std::int64_t index) const;

  /// Lets loaders of this set pass over up to `most` different images that can't be decoded. Before the first
  /// loader; 0 at first.
  void allow_bad_images(std::int64_t most);
  [[nodiscard]] BadImages& bad_images() const { return *bad_; }

  ShardSet(ShardSet&&) noexcept;
  ShardSet& operator=(ShardSet&&) noexcept;
  ~ShardSet();

 private:
  ShardSet();
  std::vector<std::filesystem::path> paths_;
  std::vector<Sample> samples_;
  std::string warning_;
  std::int64_t indexed_ = 0;
  struct Files;
  std::unique_ptr<Files> files_;
  std::unique_ptr<BadImages> bad_;
};

/// A decoded and preprocessed range of samples.
struct Batch {
  std::vector<std::int64_t> indices;  ///< sample indices
  PixelVector pixels;                 ///< [N, channels, height, width]
  std::vector<std::int64_t> labels;
  std::int64_t count = 0, channels = 0, height = 0, width = 0;
  std::vector<std::int64_t> replaced;  ///< positions whose sample could not be decoded: they show another one
};

/// Decodes batches ahead on its own threads and hands them out in the order given. An image that can't be
/// decoded is an error, or where ShardSet::allow_bad_images allows it replaced by the next one of the set
/// that can be: what a batch has depends on the set alone, not on ranks or threads. Where images keep their
/// sizes (crop 0), those of one batch must have the same: DataError that says so.
class BatchLoader {
 public:
  /// `batches`: the sample indices of each batch. Decodes up to `prefetch` batches ahead on `threads` >= 1
  /// threads.
  BatchLoader(const ShardSet& shards, Preprocessing preprocessing,
              std::vector<std::vector<std::int64_t>> batches, int threads, int prefetch = 4,
              Augmentation augmentation = {});
  ~BatchLoader();
  /// The next batch; false at the end. Rethrows an error of a decoding thread (DataError with shard and key).
  bool next(Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Parameters of `bitfall pack`.
struct PackParameters {
  std::filesystem::path folder;  ///< FOLDER/CLASS/NAME.jpg (also .jpeg, .png is refused with a sentence), or
                                 ///< FOLDER/NAME.jpg: without classes, every label is 0
  std::string prefix;            ///< shards are PREFIX-0000.tar, PREFIX-0001.tar, ...
  std::int64_t samples_per_shard = 1000;
  std::uint64_t seed =
      0;  ///< order of samples: a seeded shuffle, so that a prefix of the set is a fair sample
  bool keep_names = false;  ///< keys are file names up to their first dot, not numbers
};
/// The shards of a folder: which files go where. The class index is the rank of the class folder's name in
/// sorted order.
struct PackPlan {
  struct Entry {
    std::filesystem::path file;
    std::int32_t label = 0;
    std::string key;
  };
  std::vector<std::string> classes;
  std::vector<std::vector<Entry>> shards;
};
/// Throws MissingInputError, DataError for what is no image folder or, with keep_names, for two images of one
/// name, UsageError when shards of a larger,
/// earlier set have the same prefix: they would be read together with the new ones.
[[nodiscard]] PackPlan plan_pack(const PackParameters& parameters);
/// Writes PREFIX-classes.json: the class names in label order.
void write_class_list(const PackParameters& parameters, const PackPlan& plan);
/// Writes shard `index` of the plan (temporary name, fsync, rename) and its index file, deterministic bytes.
void write_shard(const PackParameters& parameters, const PackPlan& plan, std::int64_t index);

}  // namespace bitfall
