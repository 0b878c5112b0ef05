// SPDX-License-Identifier: Apache-2.0
#include "core/report/analyses.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/report/gallery.hpp"
#include "tests/core/report/invented_run.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::report_test::TemporaryFolder;

namespace {

Answer answer(double margin, double longer = 0, double marked = 0) {
  return {"b", "g", true, margin, longer, marked, true};
}

// `right` of `count` answers are right.
void add(std::vector<Answer>& answers, int right, int count, double longer, double marked = 0) {
  for (int i = 0; i < count; ++i) answers.push_back(answer(i < right ? 1 : -1, longer, marked));
}

double logit(double p) { return std::log(p / (1 - p)); }

}  // namespace

TEST_CASE("Accuracy balanced by length: whoever goes by length gets 50") {
  std::vector<Answer> answers;
  add(answers, 30, 30, 10);  // 30 pairs whose chosen response is longer: all right
  add(answers, 0, 10, -5);   // 10 whose chosen response is shorter: all wrong
  add(answers, 0, 5, 0);     // of equal length: not counted
  const BalancedAccuracy result = balanced_accuracy(answers);
  CHECK(result.longer == 30);
  CHECK(result.longer_correct == 30);
  CHECK(result.shorter == 10);
  CHECK(result.shorter_correct == 0);
  CHECK(result.value() == 0.5);
  CHECK_FALSE(balanced_accuracy(std::span(answers).first(30)).value());  // one side only
}

TEST_CASE("Accuracy controlled for length and style") {
  std::vector<Answer> answers;
  CHECK_FALSE(controlled_accuracy(answers));
  add(answers, 3, 4, 0);
  CHECK(*controlled_accuracy(answers) == Approx(0.75));  // nothing to control for
  answers.clear();
  // Two kinds of pairs, equally far from 0: the regression meets both exactly, and half way in
  // logits lies what it foretells.
  add(answers, 9, 10, 100);
  add(answers, 4, 10, -100);
  const double expected = 1 / (1 + std::exp(-(logit(0.9) + logit(0.4)) / 2));
  CHECK(*controlled_accuracy(answers) == Approx(expected).margin(1e-3));
  // Independent of how many there are of each.
  for (int i = 0; i < 9; ++i) add(answers, 9, 10, 100);
  CHECK(*controlled_accuracy(answers) == Approx(expected).margin(2e-3));
  // Markdown likewise.
  answers.clear();
  add(answers, 9, 10, 0, 3);
  add(answers, 4, 10, 0, -3);
  CHECK(*controlled_accuracy(answers) == Approx(expected).margin(1e-3));
  answers.clear();
  add(answers, 5, 5, 7);
  CHECK(*controlled_accuracy(answers) == 1);  // all right: no regression has an answer
}

TEST_CASE("Calibration by hand") {
  std::vector<Answer> answers;
  const double margin = std::log(3.0);  // sigmoid: 0.75
  for (int i = 0; i < 4; ++i) answers.push_back(answer(i < 3 ? margin : -margin));
  Calibration result = calibration(answers);
  CHECK(result.count == 4);
  CHECK(result.error == Approx(0).margin(1e-12));  // three of four right at 75 %
  CHECK(result.brier == Approx((3 * 0.0625 + 0.5625) / 4));
  CHECK(result.bins.size() == 10);
  CHECK(result.bins[5].count == 4);  // 0.75 opens the sixth
  CHECK(result.bins[5].accuracy == 0.75);

  for (Answer& one : answers) one.margin = margin;  // all right: too modest by a quarter
  CHECK(calibration(answers).error == Approx(0.25));
  answers.assign(2, answer(0));  // ties: 50 % sure, right by half
  CHECK(calibration(answers).error == Approx(0).margin(1e-12));
  CHECK(calibration(answers).bins[0].count == 2);
  answers.push_back(answer(1000));
  CHECK(calibration(answers).bins[9].count == 1);
  answers.assign(1, Answer{"b", "g", false, 0, 0, 0, true});
  CHECK(calibration(answers).count == 0);
}

TEST_CASE("Agreement and Cohen's kappa by hand") {
  // Right together 4, wrong together 3, the first alone 2, the second alone 1: seen 0.7, by chance
  // .6 * .5 + .4 * .5 = 0.5.
  std::vector<Answer> one, other;
  const auto pair = [&](bool a, bool b, int count) {
    for (int i = 0; i < count; ++i) {
      one.push_back(answer(a ? 1 : -1));
      other.push_back(answer(b ? 1 : -1));
    }
  };
  pair(true, true, 4);
  pair(false, false, 3);
  pair(true, false, 2);
  pair(false, true, 1);
  const Agreement result = agreement(one, other);
  CHECK(result.items == 10);
  CHECK(result.same == 7);
  CHECK(result.both_wrong == 3);
  CHECK(result.kappa == Approx(0.4));
  CHECK(agreement(one, one).kappa == Approx(1));
  std::vector<Answer> right(3, answer(1));
  CHECK(agreement(right, right).kappa == 0);  // nothing to explain
  CHECK(agreement({}, {}).items == 0);
}

TEST_CASE("The analyses of runs: other pictures, conventions, errors") {
  TemporaryFolder root;
  std::string stages, items;
  const auto stage = [&](const std::string& name, const std::string& pictures,
                         const std::string& rewards, const std::string& more) {
    const auto folder = root.path() / "run/stages" / name;
    std::string outcomes;
    int row = 0;
    for (const char reward : rewards) {
      const std::string result =
          reward == '?'
              ? R"("status":"unparsed")"
              : fmt::format(R"("status":"ok","chosen_reward":{},"rejected_reward":5)", reward);
      outcomes +=
          fmt::format(
              R"({{"benchmark":"vl_rewardbench","outcome":{{"row":{},"id":"i{}","group":"general",{}}}}})",
              row, row, result) +
          "\n";
      ++row;
    }
    report_test::write(folder / "outcomes.jsonl", outcomes);
    items.clear();
    for (row = 0; row < 4; ++row)
      items +=
          fmt::format(
              R"({{"benchmark":"vl_rewardbench","style":{{"chosen":{{"characters":{},"marks":0}},"rejected":{{"characters":20,"marks":0}}}},)"
              R"("pair":{{"id":"i{}","prompt":{{"id":"i{}","messages":[{{"role":"user","content":[{{"type":"text","text":"Q{}"}}]}}]}},)"
              R"("chosen":{{"id":"c","text":"good"}},"rejected":{{"id":"r","text":"bad"}},"group":"general"}}}})",
              row < 2 ? 30 : 10, row, row, row) +
          "\n";
    report_test::write(folder / "items.jsonl", items);
    report_test::write(
        folder / "metrics.json",
        fmt::format(
            R"({{"vl_rewardbench":{{"model":"m",{}{}"metrics":[{{"name":"overall_accuracy","value":0.5,"correct":2,)"
            R"("total":4}},{{"name":"failed","value":0.25,"correct":1,"total":4}}]}}}})",
            pictures.empty() ? "" : "\"pictures\":\"" + pictures + "\",", more));
    stages +=
        fmt::format(R"({}{{"name":"{}","type":"evaluate","key":"k","complete":true,"inputs":[]}})",
                    stages.empty() ? "" : ",", name);
  };
  stage(
      "evaluate", "", "962?",
      R"("convention":"official","conventions":{"official":[{"name":"overall_accuracy","value":0.5}],"strict":[{"name":"overall_accuracy","value":0.25}]},)");
  stage("blank", "blank", "4421", "");
  stage("swapped", "swapped", "9449", "");
  report_test::write(root.path() / "run/run.json",
                     fmt::format(R"({{"name":"run","profile":"mini","stages":[{}]}})", stages));
  const std::vector runs{load_run(root.path() / "run")};
  REQUIRE(runs[0].evaluations.size() == 3);

  const TextTable pictures = pictures_table(runs);
  REQUIRE(pictures.rows.size() == 1);
  CHECK(pictures.rows[0] == std::vector<std::string>{"run (m) / vl_rewardbench", "50.0", "0.0",
                                                     "50.0", "50.0", "50.0"});
  const TextTable style = style_table(runs);
  REQUIRE(style.rows.size() == 1);  // other pictures are no models of their own
  CHECK(style.rows[0][2] == "100.0");
  CHECK(style.rows[0][3] == "0.0");
  CHECK(style.rows[0][4] == "50.0");
  const TextTable conventions = conventions_table(runs);
  REQUIRE(conventions.rows.size() == 1);
  CHECK(conventions.header == std::vector<std::string>{"Model", "vl_rewardbench: official",
                                                       "vl_rewardbench: strict", "Unread"});
  CHECK(conventions.rows[0] == std::vector<std::string>{"run / evaluate", "50.0", "25.0", "25.0"});
  CHECK(calibration_table(runs).rows.at(0).at(1) == "3");
  CHECK(agreement_table(runs).rows.empty());

  const auto errors = make_errors(runs[0], 5, nullptr);
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].pair.id == "i2");  // by a margin
  CHECK(errors[0].rejected_reward == 5);
  CHECK(errors[1].status == "unparsed");
  CHECK(errors[1].pair.question == "Q3");
  CHECK(make_errors(runs[0], 1, nullptr).size() == 1);
}
