// SPDX-License-Identifier: Apache-2.0
#include "core/report/run_summary.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "core/report/gallery.hpp"
#include "core/report/judge_statistics.hpp"
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
  write(file, R"({"prompt":{"id":"a"},"candidates":[)" + candidate("long and longer", "own") + "," + candidate("short", "other") +
                  "," + candidate("tall!", "other") + R"(],"scores":{"list":[)" + score(8, "2 of 2 draws: 7 9") + "," +
                  score(4, "2 of 2 draws: 4 4") + "," + score(8, "1 of 2 draws: 8") + R"(]},"shown":{"list":[0,1,2]}})" + "\n");
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
