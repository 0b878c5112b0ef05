// SPDX-License-Identifier: Apache-2.0
#include "core/report/run_summary.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/report/comparison_statistics.hpp"
#include "core/report/families.hpp"
#include "core/report/gallery.hpp"
#include "core/report/judge_statistics.hpp"
#include "core/report/repeats.hpp"
#include "core/report/tables.hpp"
#include "dt2it/error.hpp"
#include "tests/core/report/invented_run.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::report_test::make_run;
using dt2it::report_test::TemporaryFolder;
using dt2it::report_test::write;

TEST_CASE("a run folder is read back") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_run(root.path(), {}));
  CHECK(run.name == "table7/method1_pointwise");
  CHECK(run.label == "method1_pointwise");
  CHECK(run.seed == 11);
  REQUIRE(run.stages.size() == 5);
  REQUIRE(run.stage("distil"));
  CHECK(run.stage("distil")->funnel.at(1).dropped ==
        std::vector<std::pair<std::string, std::int64_t>>{{"equal scores", 12},
                                                          {"scorers disagree", 58}});
  CHECK(run.stage("distil")->cost->calls == 240);
  REQUIRE(run.evaluations.size() == 1);
  CHECK(run.evaluations[0].pairs == 40);  // lines of the pairs that the training read
  CHECK(run.evaluations[0].find("mm_rlhf_rewardbench")->headline()->correct == 152);
  CHECK(run.noise()->wrong == 3);
  REQUIRE(run.training.size() == 1);
  CHECK(run.training[0].steps.size() == 500);
}

TEST_CASE("a run at work shows what is there") {
  TemporaryFolder root;
  const auto folder = root.path() / "started";
  write(
      folder / "run.json",
      R"({"name":"started","stages":[{"name":"train","type":"train","key":"k","complete":false,"inputs":["pairs"]}]})");
  write(folder / "stages/train/training.jsonl", "{\"step\":1,\"loss\":0.7}\n{\"step\":2,\"lo");
  const RunSummary run = load_run(folder);
  CHECK(run.evaluations.empty());
  REQUIRE(run.training.size() == 1);
  CHECK(run.training[0].steps.size() == 1);  // the line being written is left out
  CHECK_FALSE(run.stages.at(0).complete);
}

TEST_CASE("a lone surrogate in a model's text does not stop the report") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_run(root.path(), {.hostile = "\\ud83d"}));
  const auto gallery = make_gallery(run, 2, nullptr);
  REQUIRE(gallery.size() == 2);
  CHECK_THAT(gallery[0].question, Catch::Contains("\xEF\xBF\xBD"));
  CHECK(judge_statistics(run.stage("distil.pointwise")->folder / "candidates.jsonl").prompts == 40);
}

TEST_CASE("what is no run folder, and broken files, are named") {
  TemporaryFolder root;
  CHECK_THROWS_WITH(load_run(root.path()),
                    Catch::Contains(root.path().string()) && Catch::Contains("run.json"));
  const auto folder = make_run(root.path(), {});
  write(folder / "stages/train/training.jsonl", "{\"step\":1}\nnonsense\n{\"step\":3}\n");
  CHECK_THROWS_AS(load_run(folder), DataError);
  CHECK_THROWS_WITH(load_run(folder), Catch::Contains("training.jsonl:2"));
}

TEST_CASE("judge statistics: places, agreement, failures") {
  TemporaryFolder root;
  const auto file = root.path() / "candidates.jsonl";
  auto score = [](double overall) {
    return R"({"status":"ok","overall":)" + std::to_string(overall) + "}";
  };
  // Shown in the order 2, 0, 1: the listwise judge likes what comes first.
  write(file, R"({"prompt":{"id":"a"},"candidates":[{},{},{}],"scores":{"listwise":[)" + score(6) +
                  "," + score(5) + "," + score(10) + R"(],"pointwise":[)" + score(6) + "," +
                  score(7) + R"(,{"status":"refused"}]},)" +
                  R"("shown":{"listwise":[2,0,1],"pointwise":[0,1,2]}})" + "\n");
  const JudgeStatistics judge = judge_statistics(file);
  REQUIRE(judge.scorers.size() == 2);
  const ScorerStatistics& listwise = judge.scorers[0];
  CHECK(listwise.name == "listwise");
  CHECK(listwise.scored == 3);
  CHECK(listwise.histogram[12] == 1);
  CHECK(listwise.histogram[19] == 1);  // 10 belongs to the last bin
  REQUIRE(listwise.places.size() == 3);
  CHECK(listwise.places[0].score == 10);
  CHECK(listwise.places[0].deviation == Approx(3));
  CHECK(listwise.places[2].deviation == Approx(-2));
  CHECK(judge.scorers[1].failed.at("refused") == 1);
  CHECK(judge.scorers[1].places.size() == 2);  // the refused one has no score
  REQUIRE(judge.agreements.size() == 1);
  CHECK(judge.agreements[0].opposed == 1);  // of the only couple that both have scored
  CHECK(judge.agreements[0].agree == 0);
  CHECK(judge.agreements[0].correlation == Approx(-1));
}

TEST_CASE("judge statistics: length, ties, repeats, writers") {
  TemporaryFolder root;
  const auto file = root.path() / "candidates.jsonl";
  const auto candidate = [](const char* text, const char* mllm) {
    return fmt::format(R"({{"text":"{}","mllm":"{}"}})", text, mllm);
  };
  const auto score = [](double overall, const char* detail) {
    return fmt::format(R"({{"status":"ok","overall":{},"detail":"{}"}})", overall, detail);
  };
  // The longest is ahead of the short one and level with the other; the own one gets more.
  write(file, R"({"prompt":{"id":"a"},"candidates":[)" + candidate("long and longer", "own") + "," +
                  candidate("short", "other") + "," + candidate("tall!", "other") +
                  R"(],"scores":{"list":[)" + score(8, R"({\"draws\":[7,9],\"unread\":0})") + "," +
                  score(4, R"({\"draws\":[4,4],\"unread\":0})") + "," +
                  score(8, R"({\"draws\":[8],\"unread\":1})") + R"(]},"shown":{"list":[0,1,2]}})" +
                  "\n");
  const ScorerStatistics list = judge_statistics(file).scorers.at(0);
  CHECK(list.couples == 3);
  CHECK(list.ties == 1);
  CHECK(list.unequal == 1);
  CHECK(list.longer_ahead == 1);
  CHECK(list.repeated == 2);
  CHECK(list.spread == Approx(std::sqrt(2.0)));
  CHECK(list.writers.at("own") == std::pair<std::int64_t, double>(1, 8));
  CHECK(list.writers.at("other") == std::pair<std::int64_t, double>(2, 12));
}

TEST_CASE("repeated draws are read from JSON, never out of text") {
  CHECK(draws_in(R"({"draws":[7,7.5],"unread":1})") == std::vector<double>{7, 7.5});
  CHECK(draws_in(R"({"draws":[7,"7.5"]})").empty());
  CHECK(votes_in(R"({"votes":{"first":1,"second":4,"tie":2}})")->most() == 4);
  CHECK_FALSE(votes_in(R"({"votes":{"first":1,"second":4}})"));
  for (const char* other :
       {"", "3 of 3 draws: 7 7.5 8", "{", "{}", "[1]", "{\"draws\":7,\"votes\":3}"}) {
    INFO(other);
    CHECK(draws_in(other).empty());
    CHECK_FALSE(votes_in(other));
  }
}

TEST_CASE("families are told by the model behind a name") {
  CHECK(family_of_model("Qwen/Qwen2.5-VL-7B-Instruct") == "qwen");
  CHECK(family_of_model("gpt-5.2") == "gpt");
  CHECK(family_of_model("chatgpt-4o-latest") == "gpt");
  CHECK(family_of_model("o4-mini") == "gpt");
  CHECK(family_of_model("OpenGVLab/InternVL3_5-8B") == "internvl");
  CHECK(family_of_model("4") == "");
}

TEST_CASE("judges of pairs: both orders, places, length, repeats, their own family, cost") {
  TemporaryFolder root;
  const auto folder = root.path() / "curate";
  write(folder / "stage.json", R"({"params":{},"components":{
    "judges.one":{"params":{"mllm":"m1"}},"judges.two":{"params":{"mllm":"m2"}},
    "mllms.m1":{"params":{"model":"Qwen/Qwen3-VL"}},"mllms.m2":{"params":{"model":"gpt-5.2"}},"mllms.w":{"params":{"model":"qwen-vl-max"}}}})");
  const auto verdict = [](const char* judge, const char* first, const char* better,
                          const char* detail = "") {
    return fmt::format(R"({{"judge":"{}","shown_first":"{}","better":"{}","detail":"{}"}})", judge,
                       first, better, detail);
  };
  const auto line = [](const char* id, const std::string& verdicts, const char* chosen,
                       const char* rejected) {
    return fmt::format(
        R"({{"id":"{}","source":"s","curator":"c","action":"keep","votes_chosen":1,"responses":{{"chosen":{{"mllm":"{}","length":20}},)"
        R"("rejected":{{"mllm":"{}","length":10}}}},"detail":{{"verdicts":[{}]}}}})"
        "\n",
        id, chosen, rejected, verdicts);
  };
  // The first pair: `one` sticks to the response of its family, `two` to what is shown first. The second: `one` ties in one
  // order, `two` fails in one.
  write(folder / "decisions.jsonl",
        R"({"id":"0","source":"s","curator":"vote","action":"undecided"})"
        "\n" +
            line("a",
                 verdict("one", "chosen", "chosen",
                         R"({\"votes\":{\"first\":2,\"second\":0,\"tie\":1},\"unread\":0})") +
                     "," + verdict("one", "rejected", "chosen") + "," +
                     verdict("two", "chosen", "chosen") + "," +
                     verdict("two", "rejected", "rejected"),
                 "w", "claude-opus") +
            line("b",
                 verdict("one", "chosen", "tie") + "," + verdict("one", "rejected", "rejected") +
                     "," + R"({"judge":"two","shown_first":"chosen","status":"unparsed"},)" +
                     verdict("two", "rejected", "chosen"),
                 "claude-opus", "llava"));
  RunSummary run;
  run.label = "row";
  run.stages.push_back({"curate", "curate", "key", true, {}, folder, {}, StageCost{}});
  run.stages[0].cost->ledger.push_back(
      {"m2", "", "gpt-5.2", "pairwise", "", 4, 4, 0, 0, 0, 0, 0, 1.25});
  run.curations = read_curations(run);
  REQUIRE(run.curations.size() == 1);
  const JudgeComparisons& judges = run.curations[0].judges;
  REQUIRE(judges.size() == 2);
  const ComparisonStatistics &one = judges.at("one"), &two = judges.at("two");
  CHECK(one.asked == 4);
  CHECK(one.ties == 1);
  CHECK(one.first_ahead == 2);  // of three answers without a tie
  CHECK(one.both_orders == 2);
  CHECK(one.same == 1);
  CHECK(one.by_place == 0);
  CHECK(one.unequal == 3);
  CHECK(one.longer_ahead == 2);
  CHECK(one.repeated == 1);
  CHECK(one.majority == Approx(2.0 / 3));
  CHECK(one.own_pairs == 1);
  CHECK(one.own_ahead == 1);
  CHECK(one.others_votes == 1);
  CHECK(one.others_ahead == 0.5);  // `two` is torn
  CHECK(two.answered() == 3);
  CHECK(two.failed.at("unparsed") == 1);
  CHECK(two.both_orders == 1);
  CHECK(two.by_place == 1);
  CHECK(two.own_pairs == 0);
  const TextTable table = pair_judges_table({&run, 1});
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0] == std::vector<std::string>{"one", "4", "100.0", "25.0", "2", "50.0", "0.0",
                                                  "66.7", "66.7", "66.7", "100.0", "50.0", ""});
  CHECK(table.rows[1].back() == "1.25");
}

TEST_CASE("judges of pairs: what runs share is counted and paid for once") {
  TemporaryFolder root;
  const auto curate = [&](const char* name, int pairs) {
    const auto folder = root.path() / name;
    write(folder / "stage.json", R"({"params":{"curators":["panel"]},"components":{
      "judges.one":{"params":{"mllm":"m"}},"judges.two":{"params":{"mllm":"n"}},"judges.three":{"params":{"mllm":"n"}}}})");
    std::string text;
    for (int i = 0; i < pairs; ++i)
      text += fmt::format(
          R"({{"id":"{}","source":"s","row":{},"curator":"panel","action":"keep","votes_chosen":3,"detail":{{"verdicts":[)"
          R"({{"judge":"one","shown_first":"chosen","better":"chosen"}},{{"judge":"two","shown_first":"chosen","better":"chosen"}},)"
          R"({{"judge":"three","shown_first":"chosen","better":"chosen"}}]}}}})"
          "\n",
          i, i);
    write(folder / "decisions.jsonl", text);
    StageSummary stage{name, "curate", name, true, {}, folder, {}, StageCost{}};
    stage.cost->ledger.push_back({"m", "", "", "pairwise", "", pairs, pairs, 0, 0, 0, 0, 0, 0.5});
    stage.cost->ledger.push_back({"n", "", "", "pairwise", "", pairs, pairs, 0, 0, 0, 0, 0, 4});
    return stage;
  };
  std::vector<RunSummary> runs(2);
  runs[0].label = "a", runs[1].label = "b";
  runs[0].stages = {curate("shared", 2)};
  runs[1].stages = {runs[0].stages[0], curate("own", 3)};
  runs[1].stages.push_back(runs[1].stages[1]);  // once more by another name
  runs[1].stages.back().name = "again";
  for (RunSummary& run : runs) run.curations = read_curations(run);
  const TextTable table = pair_judges_table(runs);
  REQUIRE(table.rows.size() == 6);
  const auto cell = [&](std::size_t row, std::size_t column) { return table.rows[row][column]; };
  const std::size_t cost = table.header.size() - 1;
  CHECK(cell(0, 0) == "a / one");
  CHECK(cell(0, 1) == "2");
  CHECK(cell(0, cost) == "0.50");
  CHECK(cell(2, 0) == "a / two");
  CHECK(cell(2, cost) == "");  // `two` and `three` ask one model: whose calls is not on record
  CHECK(cell(3, 0) == "b / one");
  CHECK(cell(3, 1) == "3");
  CHECK(cell(3, cost) == "0.50");
}

TEST_CASE("a scorer beside its own family, and what it cost") {
  TemporaryFolder root;
  const auto folder = root.path() / "score";
  write(folder / "stage.json",
        R"({"params":{"scorer":"list"},"components":{"scorers.list":{"params":{"judge":"j"}},
    "judges.j":{"params":{"mllm":"m"}},"mllms.m":{"params":{"model":"gpt-5.2"}},"mllms.own":{"params":{"model":"gpt-4o-mini"}}}})");
  write(
      folder / "candidates.jsonl",
      R"({"prompt":{"id":"a"},"candidates":[{"text":"x","mllm":"own"},{"text":"yy","mllm":"other"}],)"
      R"("scores":{"list":[{"status":"ok","overall":8},{"status":"ok","overall":5}]},"shown":{"list":[1,0]}})"
      "\n");
  RunSummary run;
  run.stages.push_back({"score", "score", "key", true, {}, folder, {}, StageCost{}});
  run.stages[0].cost->ledger.push_back(
      {"m", "", "gpt-5.2", "listwise", "", 1, 1, 0, 0, 0, 0, 0, 0.5});
  const TextTable table = judges_table({&run, 1});
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0][8] == "3.00");
  CHECK(table.rows[0][9] == "0.50");
  CHECK(table.rows[1][0] == "  of other");
}

TEST_CASE("the gallery is bounded, spread over the file, and joins candidates to pairs") {
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const RunSummary run = load_run(make_run(root.path(), {.media = &media}));
  const auto gallery = make_gallery(run, 8, &media);
  REQUIRE(gallery.size() == 8);
  CHECK(gallery[0].id == "p0/1-3");
  CHECK(gallery[1].id == "p5/1-3");
  CHECK(gallery[0].pictures.at(0).data_url.starts_with("data:image/png;base64,iVBORw0KGgo"));
  CHECK(gallery[0].candidates.size() == 4);
  REQUIRE(gallery[0].pictures.size() == 2);
  CHECK(gallery[0].pictures[1].caption == "noised, for candidate 3");
  CHECK_THAT(gallery[0].candidates[1].scores.at("listwise"), Catch::Contains("criteria"));
  CHECK_THAT(gallery[0].candidates[1].scores.at("listwise"), !Catch::Contains("RAWREPLY"));
  CHECK_THAT(gallery[0].truth, Catch::Contains("count"));
  CHECK(make_gallery(run, 1000, &media).size() == 40);

  const auto without =
      make_gallery(load_run(make_run(root.path(), {.name = "imageless"})), 2, &media);
  CHECK(without.at(0).pictures.at(0).data_url.empty());
  CHECK_THAT(without.at(0).pictures.at(0).caption, Catch::Contains("absent (nowhere.png)"));
}
