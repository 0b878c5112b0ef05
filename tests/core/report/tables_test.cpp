// SPDX-License-Identifier: Apache-2.0
#include "core/report/tables.hpp"

#include <catch2/catch.hpp>

#include "tests/core/report/invented_run.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::report_test::make_run;
using dt2it::report_test::TemporaryFolder;

namespace {

Evaluation three(std::int64_t a, std::int64_t b, std::int64_t c) {
  auto result = [](const char* name, const char* metric, std::int64_t correct, std::int64_t total) {
    BenchmarkResult one;
    one.name = name;
    one.metrics.push_back(
        {metric, static_cast<double>(correct) / static_cast<double>(total), correct, total});
    return one;
  };
  Evaluation evaluation;
  evaluation.benchmarks = {result("vl_rewardbench", "overall_accuracy", a, 1247),
                           result("multimodal_rewardbench", "overall_accuracy", b, 4711),
                           result("mm_rlhf_rewardbench", "accuracy", c, 170)};
  return evaluation;
}

}  // namespace

TEST_CASE("Mean and Overall come from counts") {
  // From rounded percentages Overall would print as 80.4: (1247 * 83.5 + 4711 * 79.3 + 170 * 89.4)
  // / 6128.
  const Evaluation evaluation = three(1041, 3737, 152);
  CHECK(*overall_accuracy(evaluation) == Approx(4930.0 / 6128.0));
  CHECK(percent(*overall_accuracy(evaluation)) == "80.5");
  CHECK(percent(*mean_accuracy(evaluation)) == "84.1");
  CHECK(percent(evaluation.benchmarks[0].headline()->value) == "83.5");
}

TEST_CASE("without all three suites there is neither Mean nor Overall") {
  Evaluation evaluation = three(1041, 3737, 152);
  evaluation.benchmarks.pop_back();
  CHECK_FALSE(mean_accuracy(evaluation));
  CHECK_FALSE(overall_accuracy(evaluation));
}

TEST_CASE("sizes are printed as in the paper") {
  CHECK(data_size(170) == "170");
  CHECK(data_size(1250) == "1,250");
  CHECK(data_size(1007) == "1,007");
  CHECK(data_size(354'600) == "355K");
}

TEST_CASE("the terminal shows Table 7's columns and the details") {
  TemporaryFolder root;
  const std::vector runs{load_run(make_run(root.path(), {})),
                         load_run(make_run(root.path(), {.name = "length", .less = 200}))};
  const std::string text = print_tables(runs);
  for (const char* part :
       {"Method", "#Data", "VL-RewardBench", "Multimodal RewardBench", "MM-RLHF-RewardBench",
        "Mean Acc", "Overall Acc", "Label noise", "Ties", "method1_pointwise", "Hallucination",
        "Acc+", "VL-RewardBench, 1,247 rows",
        "Images or videos are absent in 3 items: method1_pointwise, length",
        "Rows: General 181, Hallucination 749", "46 ids"})
    CHECK_THAT(text, Catch::Contains(part));
  const TextTable overview = overview_table(runs);
  REQUIRE(overview.rows.size() == 2);
  CHECK(overview.rows[0] == std::vector<std::string>{"method1_pointwise", "40", "83.5", "79.3",
                                                     "89.4", "84.1", "80.5", "7.7", "0.2"});
  // 12 ties of 6,128 rows, 3 wrong of 39 labels that have a better side
  CHECK(overview.values[0][8] == Approx(12.0 / 6128));
  CHECK(overview.values[0][7] == Approx(3.0 / 39));
  CHECK(overview.rows[1][6] == percent(4530.0 / 6128));
}

TEST_CASE("expectations are checked against the other runs and printed as they come out") {
  TemporaryFolder root;
  const std::string expect =
      R"({"vl_rewardbench.overall_accuracy":">= listwise","overall_accuracy":"< 0.5","label_noise":"<= listwise",)"
      R"("mean_accuracy":"> absent_run","vl_rewardbench.nonsense":">= 0","multimodal_rewardbench.overall_accuracy":"about 3"})";
  const std::vector runs{
      load_run(make_run(root.path(), {.name = "table7/pointwise", .expect = expect})),
      load_run(make_run(root.path(), {.name = "table7/listwise", .less = 100}))};
  const auto results = check_expectations(runs);
  REQUIRE(results.size() == 6);
  using State = Expectation::State;
  const State states[] = {State::holds,   State::fails,   State::holds,
                          State::unknown, State::unknown, State::unknown};
  for (std::size_t i = 0; i < results.size(); ++i) {
    INFO(results[i].claim << ": " << results[i].detail);
    CHECK(results[i].state == states[i]);
  }
  CHECK(results[0].detail == "83.5 % against 75.5 %");
  CHECK_THAT(results[3].detail, Catch::Contains("absent_run"));
  CHECK_THAT(results[5].detail, Catch::Contains("allowed"));
  CHECK_THAT(print_tables(runs),
             Catch::Contains("DOES NOT HOLD") && Catch::Contains("cannot be told"));
}

TEST_CASE("an expectation may ask for more than the other row, or allow less") {
  TemporaryFolder root;  // 83.5 % against 75.5 %
  const auto state = [&](const std::string& relation) {
    static int number = 0;
    const std::string folder = "claim" + std::to_string(number++);
    const std::vector runs{
        load_run(make_run(root.path(),
                          {.name = "table7/pointwise",
                           .folder = folder,
                           .expect = R"({"vl_rewardbench.overall_accuracy":")" + relation + R"("})"})),
        load_run(make_run(root.path(),
                          {.name = "table7/listwise", .folder = folder + ".other", .less = 100}))};
    const auto results = check_expectations(runs);
    REQUIRE(results.size() == 1);
    INFO(results[0].claim << ": " << results[0].detail);
    CHECK(results[0].detail.find("83.5 % against") != std::string::npos);
    return results[0].state;
  };
  using State = Expectation::State;
  CHECK(state(">= listwise + 0.07") == State::holds);
  CHECK(state(">= listwise + 0.09") == State::fails);
  CHECK(state("< listwise +0.09") == State::holds);
  CHECK(state("<= listwise - 0.01") == State::fails);
  CHECK(state(">= 0.8") == State::holds);
}

TEST_CASE("several seeds: means over them, and expectations within one seed") {
  TemporaryFolder root;
  const std::string expect = R"({"overall_accuracy":"> listwise"})";
  const auto run = [&](const char* name, int seed, int less, const std::string& claims) {
    return load_run(
        make_run(root.path(), {.name = name,
                               .folder = std::string(name) + "@seed" + std::to_string(seed),
                               .seed = seed,
                               .less = less,
                               .expect = claims}));
  };
  const std::vector runs{run("listwise", 1, 50, "{}"), run("listwise", 2, 150, "{}"),
                         run("pointwise", 1, 60, expect), run("pointwise", 2, 140, expect)};
  CHECK(runs[1].label == "listwise@seed2");
  const TextTable seeds = seeds_table(runs);
  REQUIRE(seeds.rows.size() == 2);
  CHECK(seeds.rows[0][0] == "listwise");
  CHECK(seeds.rows[0][1] == "2");
  CHECK(seeds.values[0][6] == Approx((4930.0 - 200) / 6128));
  CHECK(seeds.rows[0][6] ==
        percent((4930.0 - 200) / 6128) + " (" + percent(100 * std::sqrt(2.0) / 6128) + ")");
  const auto results = check_expectations(runs);
  REQUIRE(results.size() == 2);
  CHECK(results[0].state == Expectation::State::fails);
  CHECK(results[1].state == Expectation::State::holds);
  CHECK(seeds_table(std::span(runs).first(1)).rows.empty());
}
