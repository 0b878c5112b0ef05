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

TEST_CASE("A reading with usual margins is told from one with absurd ones, both ways round") {
  const auto usual = rewards(16, 15, 2, 0);
  for (const double absurd : {0.004, 900.0}) {
    const auto other = rewards(16, 15, absurd, 0);
    const HeadVerdict one = judge_readings(usual, other), reverse = judge_readings(other, usual);
    CHECK(one.input == Input::final_norm);
    CHECK(one.sure);
    CHECK(reverse.input == Input::before_norm);
    CHECK(reverse.sure);
    CHECK(reverse.log_odds == Approx(-one.log_odds));
    CHECK(one.same_order == 16);
  }
}

TEST_CASE("A reading that knows the better answers is told from one that guesses") {
  const HeadVerdict verdict = judge_readings(rewards(16, 8, 2, 0), rewards(16, 15, 2, 0));
  CHECK(verdict.input == Input::before_norm);
  CHECK(verdict.order < -3);
  CHECK(std::abs(verdict.spread) < 0.5);
}

TEST_CASE("Where the readings look alike it cannot be told") {
  const auto usual = rewards(16, 15, 2, 0), close = rewards(16, 15, 4, 0);
  const HeadVerdict verdict = judge_readings(usual, close);
  CHECK(verdict.input == Input::unknown);
  CHECK_FALSE(verdict.sure);
  CHECK_THAT(verdict_text(verdict), Catch::Contains("cannot tell") && Catch::Contains("alike"));
  CHECK(judge_readings({}, {}).input == Input::unknown);
  // Both absurd in the same way say nothing either.
  CHECK(judge_readings(rewards(16, 8, 1e-5, 0), rewards(16, 8, 1.2e-5, 0)).input == Input::unknown);
  // Who made it tips the scales, but is not sure by itself.
  const HeadVerdict tipped = judge_readings(usual, close, -2.5);
  CHECK(tipped.input == Input::before_norm);
  CHECK_FALSE(tipped.sure);
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
