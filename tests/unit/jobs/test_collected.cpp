// What `collect` leaves is read back as `quantize` needs it, and never believed.
#include "collected.hpp"

#include <cstring>
#include <functional>
#include <limits>

#include "../archive/sample_archive.hpp"
#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "checkpoint.hpp"

using namespace bitfall;

namespace {

/// 8 channels of 3x3: 72 columns, collected in two blocks of 36.
LayerPlan planned() {
  LayerPlan plan;
  plan.layer.name = "conv";
  plan.layer.weight_shape = {4, 8, 3, 3};
  plan.d = 9;
  plan.metric = Metric::blockwise;
  return plan;
}

double entry(std::int64_t block, std::int64_t row, std::int64_t column) {
  return double(10000 * block + 100 * row + column);
}

KeptTensor sound() {
  std::vector<double> values;
  for (std::int64_t block = 0; block < 2; ++block) {
    for (std::int64_t i = 0; i < 36; ++i) {
      for (std::int64_t j = 0; j < 36; ++j) values.push_back(entry(block, i, j));
    }
  }
  KeptTensor tensor = as_array("conv", std::span<const double>(values));
  tensor.shape = {2, 36, 36};
  return tensor;
}

/// A context of one rank that says nothing.
struct Alone {
  CommonOptions options;
  Communicator communicator = Communicator::self();
  Reporter reporter{true, "", false};
  JobContext context{options, communicator, reporter, 1};
};

}  // namespace

TEST_CASE("the d x d blocks of what was collected", "[collected]") {
  const Collected collected{{}, {sound()}};
  const LayerMoments moments = moments_of(collected, planned());
  REQUIRE(moments.per_position.size() == 8 * 81);
  std::vector<double> pooled(81);
  for (std::int64_t position = 0; position < 8; ++position) {
    for (std::int64_t i = 0; i < 9; ++i) {
      for (std::int64_t j = 0; j < 9; ++j) {
        const std::int64_t first = position % 4 * 9;
        const double expected = entry(position / 4, first + i, first + j);
        REQUIRE(moments.per_position[static_cast<std::size_t>(81 * position + 9 * i + j)] == expected);
        pooled[static_cast<std::size_t>(9 * i + j)] += expected;
      }
    }
  }
  CHECK(moments.pooled == pooled);
}

// A statistics file is sealed, but who can write one can seal it: shapes and types are not to be believed.
TEST_CASE("statistics of another shape or type are refused and the layer is named", "[collected]") {
  const std::vector<std::function<void(KeptTensor&)>> ways = {
      [](KeptTensor& t) { t.dtype = t.stored_dtype = "float32", t.bytes.resize(t.bytes.size() / 2); },
      [](KeptTensor& t) { t.dtype = t.stored_dtype = "int8", t.bytes.resize(t.bytes.size() / 8); },
      [](KeptTensor& t) { t.stored_dtype = "float16", t.bytes.resize(t.bytes.size() / 4); },
      [](KeptTensor& t) { t.bytes.resize(8); },
      [](KeptTensor& t) {
        t.shape = {2, 36, 9}, t.bytes.resize(t.bytes.size() / 4);
      },
      [](KeptTensor& t) {
        t.shape = {8, 9, 36};
      },
      [](KeptTensor& t) {
        t.shape = {1, 36, 36}, t.bytes.resize(t.bytes.size() / 2);
      },
      [](KeptTensor& t) {
        t.shape = {1, 72, 36};
      },
      [](KeptTensor& t) {
        t.shape = {0, 36, 36}, t.bytes.clear();
      },
      [](KeptTensor& t) {
        t.shape = {2, 0, 0}, t.bytes.clear();
      },
      [](KeptTensor& t) {
        t.shape = {2, 36 * 36};
      },
      [](KeptTensor& t) {
        t.shape = {-2, -36, 36};
      },
      [](KeptTensor& t) { t.name = "other"; },
  };
  for (const auto& way : ways) {
    KeptTensor tensor = sound();
    way(tensor);
    const Collected collected{{}, {tensor}};
    try {
      (void)moments_of(collected, planned());
      FAIL("not refused");
    } catch (const DataError& error) {
      CHECK(std::string(error.what()).find("'conv'") != std::string::npos);
    }
  }
}

TEST_CASE("statistics that are NaN or infinite are refused", "[collected]") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    KeptTensor tensor = sound();
    std::memcpy(tensor.bytes.data() + 80, &bad, sizeof bad);
    CHECK_THROWS_AS(moments_of(Collected{{}, {tensor}}, planned()), DataError);
  }
}

TEST_CASE("a description of collected statistics is not believed", "[collected]") {
  const TemporaryFolder folder;
  Alone alone;
  const std::string path = folder / "a.h5";
  const auto message = [&](const std::string& plan) -> std::string {
    Archive archive;
    archive.plan_json = plan;
    archive.provenance_json = "{}";
    write_archive(archive, path);
    try {
      (void)read_collected(path, "m", alone.context);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message(R"({"collected":{"model":"m","data":"d"}})").empty());
  CHECK(message(R"({"collected":{"model":"n","data":"d"}})").find("another network") != std::string::npos);
  const std::string deep(1 << 20, '[');
  for (const std::string& plan :
       {std::string("[]"), std::string("nonsense"), std::string(R"({"collected":7})"),
        std::string(R"({"collected":{}})"), std::string(R"({"collected":{"model":7,"data":"d"}})"),
        std::string(R"({"collected":{"model":"m"}})"),
        R"({"collected":{"model":"m","data":"d","x":)" + deep + std::string(1 << 20, ']') + "}}"}) {
    const std::string said = message(plan);
    CHECK(said.find(path) != std::string::npos);
    CHECK(said.find("bitfall collect") != std::string::npos);
  }
}
