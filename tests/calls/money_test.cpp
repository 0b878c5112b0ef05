// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "core/calls/budget.hpp"
#include "core/calls/token_estimate.hpp"
#include "tests/calls/asker.hpp"

using namespace dt2it;
using namespace dt2it::testing;

TEST_CASE("Costs: cached tokens at their price, batches at theirs") {
  const Prices prices{2, 0.2, 10, 0.5, "2026-08-01"};
  CHECK(cost_of({1000, 400, 100}, prices, false) == Approx((600 * 2 + 400 * 0.2 + 100 * 10) / 1e6));
  CHECK(cost_of({1000, 400, 100}, prices, true) == Approx((600 * 2 + 400 * 0.2 + 100 * 10) / 2e6));
}

TEST_CASE("Image tokens by rule") {
  const ImageTokens tiles{ImageTokens::Rule::tiles, 512, 85, 170};
  CHECK(image_tokens(tiles, 1024, 1024) == 765);   // 768 x 768: four tiles
  CHECK(image_tokens(tiles, 2048, 4096) == 1105);  // 768 x 1536: six tiles
  CHECK(image_tokens(tiles, 100, 100) == 255);
  const ImageTokens patches{ImageTokens::Rule::patches, 32, 0, 0, 1536};
  CHECK(image_tokens(patches, 1024, 1024) == 1024);
  CHECK(image_tokens(patches, 33, 32) == 2);
  CHECK(image_tokens(patches, 4000, 4000) == 1536);
}

namespace {

// What the mock counts as 120 tokens, by our estimate as well.
const std::string kQuestion = "question " + std::string(439, 'x');

}  // namespace

TEST_CASE("A cap holds with everything in flight") {
  // Each call costs (120 - 64 + 64) + 9 tokens; at 1 a million in and out: 129e-6.
  mock::Options options;
  options.latency = 0.02;
  mock::Endpoint endpoint(options);
  const Table prices{{"price_input", value_of(1.0)},
                     {"price_output", value_of(1.0)},
                     {"price_date", value_of("2026-08-01")},
                     {"max_tokens", value_of(9)}};
  TemporaryFolder folder;
  const auto file = folder.path() / "calls.sqlite";
  const double cap = 100 * 129e-6;
  double spent = 0;
  std::string problem;
  {
    Asker asker(endpoint.url(), prices, {.max_cost = cap}, file);
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::atomic<int> next{0};
    for (int t = 0; t < 32; ++t)
      threads.emplace_back([&] {
        try {
          for (int i = next++; i < 1000; i = next++) asker.ask(kQuestion, i);
        } catch (const ModelError& error) {
          std::lock_guard lock(mutex);
          problem = error.what();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const LedgerRow& row : asker.calls().ledger("stage")) spent += row.cost;
    CHECK(asker.calls().ledger("stage").at(0).paid ==
          static_cast<std::int64_t>(endpoint.answered()));
  }
  CHECK(holds(problem, "cap is reached"));
  CHECK(holds(problem, "raise the cap"));
  CHECK(spent <= cap);
  CHECK(spent > 0.5 * cap);
  // Gone on with under the same cap: what was spent before counts.
  Asker again(endpoint.url(), prices, {.max_cost = cap}, file);
  again.calls().count_spent({"stage"});
  int more = 0;
  try {
    for (int i = 5000; i < 6000; ++i, ++more) again.ask(kQuestion, i);
  } catch (const ModelError&) {
  }
  CHECK(spent + more * 129e-6 <= cap * 1.0001);
}

TEST_CASE("A cap in tokens, and a cap on costs without prices") {
  mock::Endpoint endpoint({});
  Asker asker(endpoint.url(), {{"max_tokens", value_of(9)}}, {.max_tokens = 1000});
  int done = 0;
  CHECK_THROWS_AS(
      [&] {
        for (;; ++done) asker.ask(kQuestion, done);
      }(),
      ModelError);
  CHECK(done * 129 <= 1000);
  CHECK(done >= 3);
  CHECK_THROWS_AS(Asker(endpoint.url(), {}, {.max_cost = 1}), ConfigError);
}

TEST_CASE("A budget sets aside and settles") {
  Budget budget(1.0, 0);
  CHECK(budget.reserve({0.6, 10}));
  CHECK_FALSE(budget.reserve({0.6, 10}, false));
  CHECK_FALSE(budget.reserve({1.1, 10}));                        // however the other turns out
  std::thread later([&] { CHECK(budget.reserve({0.6, 10})); });  // waits until the first is settled
  budget.settle({0.6, 10}, {0.1, 3});
  later.join();
  budget.spent_before({0.3, 0});
  CHECK_FALSE(budget.reserve({0.1, 1}, false));
}
