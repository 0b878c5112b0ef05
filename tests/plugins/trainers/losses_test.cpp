// SPDX-License-Identifier: Apache-2.0
// The parts of trainers/native by themselves, on numbers that can be checked by hand.
#include "plugins/trainers/native/losses.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "dt2it/testing/fakes.hpp"
#include "plugins/trainers/native/data_check.hpp"
#include "plugins/trainers/native/pair_order.hpp"
#include "plugins/trainers/native/watch.hpp"

using namespace dt2it;
using namespace dt2it::native;
using namespace dt2it::testing;

namespace {

at::Tensor number(double value) { return at::full({1}, value, at::kFloat); }
double minus_log_sigmoid(double x) { return std::log1p(std::exp(-x)); }

double loss_of(double chosen, double rejected, const Targets& targets = {},
               const RewardLoss& loss = {}) {
  return reward_loss(number(chosen), number(rejected), targets, loss).item<double>();
}

std::vector<PreferencePair> numbered_pairs(std::size_t count) {
  std::vector<PreferencePair> pairs;
  for (std::size_t i = 0; i < count; ++i)
    pairs.push_back(sample_pair(std::to_string(i), "question " + std::to_string(i / 3),
                                "good " + std::to_string(i), "bad"));
  return pairs;
}

}  // namespace

TEST_CASE("Bradley-Terry, margins, labels, ties and centring as their formulas say") {
  CHECK(loss_of(0, 0) == Approx(std::log(2.0)));
  CHECK(loss_of(2, .5) == Approx(minus_log_sigmoid(1.5)));
  CHECK(loss_of(2, .5, {number(1), {}, {}}) == Approx(minus_log_sigmoid(.5)));
  CHECK(loss_of(2, .5, {}, {.label_smoothing = .1}) ==
        Approx(.9 * minus_log_sigmoid(1.5) + .1 * minus_log_sigmoid(-1.5)));
  CHECK(loss_of(2, .5, {{}, number(.7), {}}) ==
        Approx(.7 * minus_log_sigmoid(1.5) + .3 * minus_log_sigmoid(-1.5)));
  CHECK(loss_of(2, .5, {}, {.centering = .01}) == Approx(minus_log_sigmoid(1.5) + .01 * 2.5 * 2.5));
  // Rao and Kupper: the three outcomes have probabilities that sum to 1.
  const double theta = 1.5;
  const RewardLoss ties{.tie_theta = theta};
  const double win = std::exp(-loss_of(1, .2, {{}, {}, number(0)}, ties)),
               lose = std::exp(-loss_of(.2, 1, {{}, {}, number(0)}, ties)),
               tie = std::exp(-loss_of(1, .2, {{}, {}, number(1)}, ties));
  CHECK(win == Approx(std::exp(1.0) / (std::exp(1.0) + theta * std::exp(.2))));
  CHECK(win + lose + tie == Approx(1.0));
}

TEST_CASE("DPO compares log ratios to the reference") {
  at::Tensor chosen, rejected;
  const double loss =
      dpo_loss(number(-10), number(-12), number(-11), number(-11), {.beta = .5}, chosen, rejected)
          .item<double>();
  CHECK(chosen.item<double>() == Approx(.5));
  CHECK(rejected.item<double>() == Approx(-.5));
  CHECK(loss == Approx(minus_log_sigmoid(1)));
  const double cautious = dpo_loss(number(-10), number(-12), number(-11), number(-11),
                                   {.beta = .5, .label_smoothing = .2}, chosen, rejected)
                              .item<double>();
  CHECK(cautious == Approx(.8 * minus_log_sigmoid(1) + .2 * minus_log_sigmoid(-1)));
}

TEST_CASE("Orders of pairs: LLaMA-Factory's own, the file's, by prompts") {
  const auto pairs = numbered_pairs(11);
  Params params;
  params.batch_size = 4;
  params.epochs = 2;
  params.recipe = "llamafactory";
  params.order_seed = 42;
  PairOrder order(params, 1, pairs);
  CHECK(order.steps_per_epoch() == 3);
  CHECK(order.steps() == 6);
  // What llamafactory-cli 0.9.5 was seen to train on, seed 42.
  CHECK(order.batch(0) == std::vector<std::size_t>{6, 8, 9, 2});
  CHECK(order.batch(2) == std::vector<std::size_t>{3, 5, 4});
  CHECK(order.batch(3) == std::vector<std::size_t>{3, 9, 4, 2});
  CHECK(order.batch(1) == std::vector<std::size_t>{1, 10, 0, 7});

  params.order = "file";
  CHECK(PairOrder(params, 1, pairs).batch(1) == std::vector<std::size_t>{4, 5, 6, 7});
  params.order = "prompts";
  params.batch_size = 6;
  PairOrder prompts(params, 1, pairs);
  std::size_t units = 0;
  std::vector<bool> seen(pairs.size());
  for (std::int64_t step = 0; step < 2; ++step) {
    const auto batch = prompts.batch(step);
    const auto shares = prompts.shares(batch, 1);
    units += shares[0].size();
    for (const std::size_t record : batch) {
      CHECK_FALSE(seen[record]);
      seen[record] = true;
    }
    // Whatever the number of processes, each record is somewhere once.
    std::size_t records = 0;
    for (const auto& share : prompts.shares(batch, 3))
      for (const auto& unit : share) records += unit.size();
    CHECK(records == batch.size());
  }
  CHECK(units <= 5);  // four prompts, one of which may be cut by the border
  params.max_steps = 2;
  CHECK(PairOrder(params, 1, pairs).steps() == 2);
}

TEST_CASE("A look at the data finds what training would only suffer from") {
  std::vector<PreferencePair> pairs;
  for (int i = 0; i < 60; ++i)
    pairs.push_back(sample_pair(std::to_string(i), "question " + std::to_string(i),
                                "a longer answer", "short"));
  pairs.push_back(pairs[0]);                                                    // duplicate
  pairs.push_back(sample_pair("x", "question 1", "short", "a longer answer"));  // contradiction
  pairs.push_back(sample_pair("y", "another", "same", "same"));
  pairs[5].strength = 0;
  const DataCheck check = check_data(
      pairs, 10, [](std::size_t record) { return record == 0 ? Fit::unusable : Fit::cut; });
  CHECK(check.pairs == 63);
  CHECK(check.duplicates == 1);
  CHECK(check.contradictory == 1);
  CHECK(check.identical == 1);
  CHECK(check.ties == 1);
  CHECK(check.longer_chosen == 61);
  CHECK(check.longer_rejected == 1);
  CHECK(check.looked_at == 10);
  CHECK(check.unusable == 1);
  CHECK(check.truncated == 9);
  std::string all;
  for (const std::string& line : check.findings()) all += line + '\n';
  CHECK_THAT(all, Catch::Contains("98.4 %") && Catch::Contains("opposite") &&
                      Catch::Contains("same text") && Catch::Contains("cutoff_len"));
  CHECK(
      check_data(numbered_pairs(9), 9, [](std::size_t) { return Fit::whole; }).findings().empty());
}

TEST_CASE("A training that stands still is noticed, one that is only slow is not") {
  Watch watch(5);
  for (int i = 0; i < 4; ++i) CHECK_FALSE(watch.see(std::log(2.0), 1, false));
  CHECK_THAT(watch.see(std::log(2.0), 1, false).value_or(""), Catch::Contains("ln 2"));
  Watch slow(5);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(slow.see(std::log(2.0) - 2e-4, .01, false));
  for (int i = 0; i < 20; ++i) CHECK_FALSE(slow.see(std::log(2.0), .01, true));  // warm-up
  Watch equal(3);
  CHECK_FALSE(equal.see(.5, 0, false));
  CHECK_FALSE(equal.see(.5, 0, false));
  CHECK_THAT(equal.see(.5, 0, false).value_or(""), Catch::Contains("equal"));
  Watch never(0);
  for (int i = 0; i < 500; ++i) CHECK_FALSE(never.see(std::log(2.0), 0, false));
}
