// SPDX-License-Identifier: Apache-2.0
#include "core/score/head_probe.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "dt2it/rng.hpp"

using namespace dt2it;
using Input = HeadVerdict::Input;

namespace {

// Margins of `spread` around it, `right` of them positive, an offset common to all.
std::vector<ProbeRewards> rewards(std::size_t count, std::size_t right, double spread,
                                  double offset) {
  std::vector<ProbeRewards> result;
  Rng rng(7);
  for (std::size_t i = 0; i < count; ++i) {
    const double base = offset + rng.normal(), size = spread * (0.5 + rng.uniform());
    result.push_back({base + (i < right ? size : -size), base});
  }
  return result;
}

}  // namespace

TEST_CASE("What rewards look like") {
  const std::vector<ProbeRewards> some{{3, 1}, {0, 0}, {-50, 10}, {4, 4.5}};
  const HeadReading reading = read_rewards(some);
  CHECK(reading.pairs == 4);
  CHECK(reading.correct == 1);
  CHECK(reading.ties == 1);
  CHECK(reading.saturated == 0.25);
  CHECK(reading.mean == Approx((3 + 1 - 50 + 10 + 4 + 4.5) / 8));
  CHECK(reading.spread == Approx(std::sqrt((4 + 3600 + 0.25) / 4)));
  CHECK(read_rewards({}).pairs == 0);
}

TEST_CASE("Margins of absurd size count beside an order of many pairs, both ways round") {
  const auto usual = rewards(40, 38, 2, 0);
  for (const double absurd : {0.004, 900.0}) {
    const auto other = rewards(40, 36, absurd, 0);
    const HeadVerdict one = judge_readings(usual, other), reverse = judge_readings(other, usual);
    CHECK(one.scale_counts);
    CHECK(one.input == Input::final_norm);
    CHECK(one.sure);
    CHECK(one.log_odds > one.order + 1.4);
    CHECK(reverse.input == Input::before_norm);
    CHECK(reverse.sure);
    CHECK(reverse.log_odds == Approx(-one.log_odds));
    CHECK(one.same_order == 38);
    CHECK(one.more_right == 2);
  }
}

TEST_CASE("The size of margins alone does not tell, and does not turn an order round") {
  // Hardly trained: margins are absurdly small as the head was trained, and usual in the wrong reading.
  const auto small = rewards(40, 38, 0.05, 0), usual = rewards(40, 38, 2, 0);
  const HeadVerdict verdict = judge_readings(small, usual);
  CHECK(verdict.spread < -3);
  CHECK(verdict.order == 0);
  CHECK(verdict.log_odds == 0);
  CHECK(verdict.input == Input::unknown);
  CHECK_FALSE(verdict.sure);
  CHECK_THAT(verdict_text(verdict),
             Catch::Contains("40 pairs cannot tell") && Catch::Contains("alike") &&
                 Catch::Contains("usual size with before_norm") && !Catch::Contains("likely"));
  const HeadVerdict against = judge_readings(rewards(40, 38, 0.05, 0), rewards(40, 36, 2, 0));
  CHECK(against.order > 2);
  CHECK(against.order + against.spread + against.offset < 0);
  CHECK(against.input == Input::unknown);
  CHECK_THAT(verdict_text(against), Catch::Contains("does not agree"));
}

TEST_CASE("Few pairs tell by a clear order only") {
  for (const std::size_t count : {1, 3, 16, 29}) {
    const HeadVerdict verdict =
        judge_readings(rewards(count, count, 0.05, 0), rewards(count, count, 2, 0));
    CHECK(verdict.input == Input::unknown);
    CHECK_FALSE(verdict.sure);
    CHECK(verdict_text(verdict) ==
          "too few pairs to tell: " + std::to_string(count) + "; give 30 or more by --pairs");
  }
  const HeadVerdict three = judge_readings(rewards(3, 3, 2, 0), rewards(3, 0, 2, 0));
  CHECK(three.input == Input::unknown);
  const HeadVerdict clear = judge_readings(rewards(16, 15, 2, 0), rewards(16, 8, 2, 0));
  CHECK(verdict_text(clear) == "final_norm, likely");
}

TEST_CASE("What the checkpoint states decides; an order of many pairs can disagree") {
  const auto absurd = rewards(3, 3, 0.02, 0), usual = rewards(3, 3, 2, 0);
  const HeadVerdict few = judge_readings(absurd, usual, -2, Input::final_norm);
  CHECK(few.input == Input::final_norm);
  CHECK(few.sure);
  CHECK_FALSE(few.disagrees);
  CHECK(verdict_text(few) == "final_norm, as training.json says");
  const auto right = rewards(40, 38, 2, 0), guesses = rewards(40, 20, 2, 0);
  const HeadVerdict other = judge_readings(guesses, right, 0, Input::final_norm);
  CHECK(other.input == Input::final_norm);
  CHECK(other.likely == Input::before_norm);
  CHECK(other.disagrees);
  CHECK_THAT(verdict_text(other),
             Catch::StartsWith("final_norm, as training.json says\n") &&
                 Catch::Contains("40 pairs disagree: 18 more of them are right with before_norm"));
  CHECK_FALSE(judge_readings(right, guesses, 0, Input::final_norm).disagrees);
  CHECK_FALSE(
      judge_readings(rewards(29, 14, 2, 0), rewards(29, 28, 2, 0), 0, Input::final_norm).disagrees);
  // Neither the size of margins nor a few pairs' order by chance is a disagreement.
  CHECK_FALSE(judge_readings(rewards(40, 38, 900, 0), right, -3, Input::final_norm).disagrees);
  auto chance = rewards(40, 20, 2, 0);
  for (std::size_t i = 0; i < 18; ++i) std::swap(chance[i].chosen, chance[i].rejected);
  for (std::size_t i = 20; i < 40; ++i) std::swap(chance[i].chosen, chance[i].rejected);
  const HeadVerdict near = judge_readings(guesses, chance, 0, Input::final_norm);
  CHECK(near.more_right == -2);
  CHECK_FALSE(near.disagrees);
  CHECK(head_input_named("before_norm") == Input::before_norm);
  CHECK(head_input_named("") == Input::unknown);
}

TEST_CASE("A reading that knows the better answers is told from one that guesses") {
  const HeadVerdict verdict = judge_readings(rewards(16, 8, 2, 0), rewards(16, 15, 2, 0));
  CHECK(verdict.input == Input::before_norm);
  CHECK(verdict.order < -3);
  CHECK(std::abs(verdict.spread) < 0.5);
}

TEST_CASE("Where the readings look alike it cannot be told") {
  const auto usual = rewards(40, 38, 2, 0), close = rewards(40, 38, 4, 0);
  const HeadVerdict verdict = judge_readings(usual, close);
  CHECK(verdict.input == Input::unknown);
  CHECK_FALSE(verdict.sure);
  CHECK_THAT(verdict_text(verdict), Catch::Contains("cannot tell") && Catch::Contains("alike"));
  CHECK(judge_readings({}, {}).input == Input::unknown);
  // Both absurd in the same way say nothing either.
  CHECK(judge_readings(rewards(40, 20, 1e-5, 0), rewards(40, 20, 1.2e-5, 0)).input ==
        Input::unknown);
  // Who made it tips the scales, but is not sure by itself.
  const HeadVerdict tipped = judge_readings(usual, close, -2.5);
  CHECK(tipped.input == Input::before_norm);
  CHECK_FALSE(tipped.sure);
  CHECK_THAT(verdict_text(tipped), Catch::StartsWith("before_norm, likely, by who made it (these"));
}

TEST_CASE("The built-in pairs are questions with two different answers each") {
  const auto records = probe_pairs();
  CHECK(records.size() >= 12);
  for (const AnswerRecord& record : records) {
    CHECK(record.pair);
    REQUIRE(record.responses.size() == 2);
    CHECK(record.responses[0].text != record.responses[1].text);
  }
}
