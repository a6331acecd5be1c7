#include "bitfall/errors.hpp"
#include "bitfall/finetune.hpp"
#include "catch.hpp"

using namespace bitfall;

TEST_CASE("schedules") {
  Schedule schedule{
      .kind = ScheduleKind::step, .learning_rate = 0.01, .step_iterations = 30, .iterations = 90};
  REQUIRE(schedule.at(0) == 0.01);
  REQUIRE(schedule.at(29) == 0.01);
  REQUIRE(schedule.at(30) == Approx(0.001));
  REQUIRE(schedule.at(89) == Approx(0.0001));
  schedule.kind = ScheduleKind::cosine;
  REQUIRE(schedule.at(0) == Approx(0.01));
  REQUIRE(schedule.at(45) == Approx(0.005));
  REQUIRE(schedule.at(90) == Approx(0).margin(1e-18));
  schedule.kind = ScheduleKind::constant;
  REQUIRE(schedule.at(1000000) == 0.01);
}

TEST_CASE("names") {
  REQUIRE(schedule_from_string("cosine") == ScheduleKind::cosine);
  REQUIRE(optimizer_from_string("adam") == OptimizerKind::adam);
  REQUIRE_THROWS_AS(schedule_from_string("linear"), UsageError);
  REQUIRE_THROWS_AS(optimizer_from_string("lion"), UsageError);
}
