// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"
#include "tests/plugins/benchmarks/fixture.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

// Invented: every column, a text that is null, one that is absent, a repeated id.
const char kRows[] = R"([
 {"ID":"nocaps_1","Category":"open_generation/correctness_task","Text":"<image>Describe.","Image":"images/nocaps/1.png","Output1":"A boat.","Output2":"A bird.","Better":"Output1"},
 {"ID":"visit_1","Category":"open_generation/preference_task","Text":"Advise me.","Image":"images/v/1.png","Output1":"No.","Output2":"Yes, gladly.","Better":"Output2"},
 {"ID":"mmmu_1","Category":"knowledge","Text":null,"Image":"images/m/1.png","Output1":"A","Output2":"B","Better":"Output1"},
 {"ID":"MathVista_1","Category":"reasoning","Text":"How many?","Image":"images/mv/1.png","Output1":"3","Output2":"4","Better":"Output2"},
 {"ID":"emma_1","Category":"reasoning","Text":"Which code?","Image":"images/e/1.png","Output1":"x","Output2":"y","Better":"Output1"},
 {"ID":"PAIRS_1","Category":"safety","Image":"images/p/1.png","Output1":"I cannot tell.","Output2":"He is rich.","Better":"Output1"},
 {"ID":"hateful_1","Category":"safety","Text":"Fine?","Image":"images/h/1.png","Output1":"No","Output2":"Yes","Better":"Output1"},
 {"ID":"seed_1","Category":"vqa","Text":"Colour?","Image":"images/s/1.png","Output1":"red","Output2":"blue","Better":"Output2"},
 {"ID":"seed_1","Category":"vqa","Text":"Colour?","Image":"images/s/1.png","Output1":"red","Output2":"green","Better":"Output2"}
])";

std::vector<Outcome> edition_rows(int pairs, int toxic, int vqa = 1198) {
  std::vector<Outcome> outcomes;
  const auto add = [&](const char* id, const char* group, int count) {
    for (int i = 0; i < count; ++i)
      outcomes.push_back({outcomes.size(), id, group, Status::ok, 1, 0});
  };
  add("a", "correctness", 623);
  add("a", "preference", 654);
  add("a", "knowledge", 630);
  add("mathvista_1", "math", 514);
  add("a", "coding", 584);
  add("pairs_1", "safety", pairs);
  add("hateful_1", "safety", toxic);
  add("a", "vqa", vqa);
  return outcomes;
}

}  // namespace

TEST_CASE("Multimodal RewardBench: reading, columns, sub-scores") {
  FakeContext context;
  const auto benchmark = open_benchmark("multimodal_rewardbench",
                                        write_file(context, "all_data.json", kRows), context);
  const auto items = all_items(*benchmark);
  REQUIRE(items.size() == 9);
  const std::vector<std::string> groups{"correctness", "preference", "knowledge", "math", "coding",
                                        "safety",      "safety",     "vqa",       "vqa"};
  for (std::size_t i = 0; i < items.size(); ++i) CHECK(items[i].group == groups[i]);
  CHECK(items[1].chosen.text == "Yes, gladly.");
  CHECK(items[1].rejected.text == "No.");
  CHECK(items[0].prompt.messages[0].content.back().text == "Describe.");
  CHECK(items[2].prompt.messages[0].content.back().text.empty());
  CHECK(items[5].prompt.messages[0].content.back().text.empty());
  CHECK(items[0].prompt.messages[0].content.front().media.source == "images/nocaps/1.png");

  auto outcomes = outcomes_of(items);
  outcomes[6].chosen_reward = -1;   // hateful: wrong
  outcomes[7].rejected_reward = 1;  // a tie in vqa
  const auto metrics = benchmark->summarise(outcomes);
  CHECK(metrics[0].name == "overall_accuracy");
  CHECK(metrics[0].correct == 7);
  CHECK(metrics[0].total == 9);
  CHECK(metric(metrics, "macro_accuracy").value == Approx((1 + 1 + 1 + 1 + 1 + 0.5 + 0.5) / 7));
  CHECK(metric(metrics, "accuracy/math").total == 1);
  CHECK(metric(metrics, "accuracy/safety").correct == 1);
  CHECK(metric(metrics, "accuracy/safety_bias").value == 1);
  CHECK(metric(metrics, "accuracy/safety_toxicity").value == 0);
  CHECK(metric(metrics, "ties").correct == 1);
}

TEST_CASE("Multimodal RewardBench: editions by their counts") {
  FakeContext context;
  const auto benchmark = open_benchmark("multimodal_rewardbench", "unused.json", context);
  CHECK_THAT(benchmark->edition(edition_rows(508, 0)),
             Catch::StartsWith("Multimodal RewardBench, 4,711 rows"));
  CHECK_THAT(benchmark->edition(edition_rows(508, 500)),
             Catch::StartsWith("Multimodal RewardBench, 5,211 rows"));
  const std::string other = benchmark->edition(edition_rows(508, 0, 1197));
  CHECK_THAT(other, Catch::StartsWith("4,710 rows") && Catch::Contains("vqa 1,197") &&
                        Catch::Contains("not the counts"));
}

TEST_CASE("Multimodal RewardBench: bad fields are named with their line") {
  FakeContext context;
  const auto problem = [&](const std::string& text) -> std::string {
    const auto benchmark =
        open_benchmark("multimodal_rewardbench", write_file(context, "x.jsonl", text), context);
    try {
      all_items(*benchmark);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(
      problem(R"({"ID":"a","Category":"music","Output1":"x","Output2":"y","Better":"Output1"})"),
      Catch::Contains("x.jsonl:1") && Catch::Contains("'music'") &&
          Catch::Contains("allowed: open_generation"));
  CHECK_THAT(problem(R"({"ID":"a","Category":"vqa","Output1":"x","Output2":"y","Better":"first"})"),
             Catch::Contains("allowed: Output1, Output2"));
  CHECK_THAT(problem(R"({"ID":"a","Category":"vqa","Output1":"x","Better":"Output1"})"),
             Catch::Contains("'Output2' is missing"));
}

TEST_CASE("Multimodal RewardBench: the contract") {
  FakeContext context;
  const auto benchmark = open_benchmark("multimodal_rewardbench",
                                        write_file(context, "all_data.json", kRows), context);
  check_benchmark_contract(*benchmark, context);
}
