// What detectors return, told apart from what classifiers do.
#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "bitfall/errors.hpp"
#include "catch.hpp"
#include "model/detections.hpp"

namespace bitfall::test {

namespace {

using Entry = c10::Dict<std::string, at::Tensor>;

Entry entry_of(std::int64_t count) {
  Entry entry;
  entry.insert("boxes", at::full({count, 4}, 2.0, at::kDouble));
  entry.insert("scores", at::zeros({count}));
  entry.insert("labels", at::zeros({count}, at::kInt));
  return entry;
}

c10::IValue list_of(const std::vector<Entry>& entries) {
  c10::List<Entry> list;
  for (const Entry& entry : entries) list.push_back(entry);
  return list;
}

}  // namespace

TEST_CASE("a list of dictionaries, alone or beside losses, are detections") {
  const c10::IValue list = list_of({entry_of(3), entry_of(0)});
  const Entry losses;
  const c10::IValue beside = c10::ivalue::Tuple::create({losses, list});
  for (const c10::IValue& result : {list, beside}) {
    REQUIRE(holds_detections(*result.type()));
    const std::vector<Detections> found = detections_of(result);
    REQUIRE(found.size() == 2);
    CHECK(found[0].boxes.sizes() == at::IntArrayRef({3, 4}));
    CHECK(found[0].boxes.scalar_type() == at::kFloat);
    CHECK(found[0].labels.scalar_type() == at::kLong);
    CHECK_FALSE(found[0].masks.defined());
    CHECK(found[1].scores.numel() == 0);
  }
}

TEST_CASE("logits are no detections, in whatever they come") {
  const at::Tensor logits = at::zeros({2, 10});
  Entry named;
  named.insert("out", logits);
  const c10::IValue pair = c10::ivalue::Tuple::create({logits, logits});
  for (const c10::IValue& result : {c10::IValue(logits), c10::IValue(named), pair}) {
    CHECK_FALSE(holds_detections(*result.type()));
    CHECK_THROWS_AS(detections_of(result), DataError);
  }
}

TEST_CASE("detections that lack a part or have another shape are refused") {
  Entry without = entry_of(2);
  CHECK(without.erase("scores") == 1);
  CHECK_THROWS_AS(detections_of(list_of({without})), DataError);
  Entry other = entry_of(2);
  other.insert_or_assign("labels", at::zeros({3}, at::kLong));
  CHECK_THROWS_AS(detections_of(list_of({other})), DataError);
  Entry masks = entry_of(2);
  masks.insert("masks", at::zeros({2, 8, 8}));
  CHECK_THROWS_AS(detections_of(list_of({masks})), DataError);
  masks.insert_or_assign("masks", at::zeros({2, 1, 8, 8}));
  CHECK(detections_of(list_of({masks})).front().masks.size(3) == 8);
}

}  // namespace bitfall::test
