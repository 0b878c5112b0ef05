// SPDX-License-Identifier: Apache-2.0
// The paper's tables beside runs, and written answers, from invented folders.
#include "core/report/paper_table.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/report/answer_results.hpp"
#include "dt2it/error.hpp"
#include "tests/core/report/invented_run.hpp"

using namespace dt2it;
using namespace dt2it::report;
using namespace dt2it::report_test;

namespace {

// A run whose only evaluation has these fractions of 1000.
RunSummary run_of(int seed, int first, int second) {
  RunSummary run;
  run.name = "table9/row";
  run.seed = static_cast<std::uint64_t>(seed);
  const auto metric = [](int correct) {
    return Metric{"overall_accuracy", correct / 1000.0, correct, 1000};
  };
  run.evaluations.push_back(
      {"evaluate",
       {{"one", "", "", 0, {metric(first)}}, {"two", "", "", 0, {metric(second)}}},
       {}});
  return run;
}

PaperTable table_of(std::vector<PaperRow> rows) {
  return {"table9",       "Table 9",
          {"One", "Two"}, {"one.overall_accuracy", "two.overall_accuracy"},
          {"One"},        std::move(rows)};
}

const Ordering& ordering(const std::vector<Ordering>& all, const std::string& better,
                         const std::string& worse) {
  for (const Ordering& one : all)
    if (one.better == better && one.worse == worse) return one;
  FAIL("no ordering of " << better << " over " << worse);
  return all.front();
}

}  // namespace

TEST_CASE("Orderings: held, not resolved, failed, by the interval over seeds") {
  const PaperTable table = table_of({{"a", "g", "", "", {70, 50}, {}},
                                     {"b", "g", "", "", {75, 50}, {}},
                                     {"c", "g", "", "", {74, 50}, {}},
                                     {"d", "g", "", "", {60, 50}, {}},
                                     {"e", "other", "", "", {10, 50}, {}}});
  const std::vector<RowRuns> runs{
      {run_of(0, 600, 0), run_of(1, 610, 0), run_of(2, 590, 0)},
      {run_of(0, 700, 0), run_of(1, 712, 0), run_of(2, 689, 0)},  // +10 each
      {run_of(0, 650, 0), run_of(1, 560, 0), run_of(2, 640, 0)},  // up and down
      {run_of(2, 690, 0), run_of(1, 712, 0), run_of(0, 701, 0)},  // well above a
      {}};
  const auto found = orderings(table, runs);
  CHECK(found.size() == 6);  // couples of one group, one column
  const Ordering& held = ordering(found, "b", "a");
  CHECK(held.state == Ordering::State::holds);
  CHECK(held.paper == Approx(5));
  CHECK(held.ours == Approx((10 + 10.2 + 9.9) / 3));
  CHECK(held.seeds == 3);
  const double deviation = std::sqrt(
      (std::pow(10 - held.ours, 2) + std::pow(10.2 - held.ours, 2) + std::pow(9.9 - held.ours, 2)) /
      2);
  CHECK(*held.half_width == Approx(4.303 * deviation / std::sqrt(3)));
  CHECK(ordering(found, "c", "a").state == Ordering::State::not_resolved);
  CHECK(ordering(found, "a", "d").state == Ordering::State::fails);
  const TextTable text = orderings_table(table, found);
  CHECK(text.rows.size() == 6);
  CHECK(text.notes[0].starts_with("Of 6 orderings "));
}

TEST_CASE("One seed resolves nothing, and rows that were not run are told") {
  const PaperTable table = table_of(
      {{"a", "", "x/a", "", {70, 50}, {"Two"}}, {"b", "", "x/b", "5K", {75, std::nan("")}, {}}});
  const std::vector<RowRuns> runs{{run_of(0, 600, 500)}, {run_of(0, 700, 512)}};
  CHECK(orderings(table, runs)[0].state == Ordering::State::not_resolved);
  CHECK(orderings(table, std::vector<RowRuns>{{run_of(0, 600, 500)}, {run_of(1, 700, 512)}})[0]
            .state == Ordering::State::not_run);
  TextTable side = side_by_side(table, runs);
  REQUIRE(side.rows.size() == 2);
  CHECK(side.rows[0] == std::vector<std::string>{"a", "", "1", "70.0 | 60.0", "50.0 | 50.0"});
  CHECK(side.rows[1] == std::vector<std::string>{"b", "5K", "1", "75.0 | 70.0", "? | 51.2"});
  side = side_by_side(table, std::vector<RowRuns>{{}, {run_of(0, 700, 512), run_of(1, 720, 512)}});
  CHECK(side.rows[0][3] == "70.0 | -");
  CHECK(side.rows[1][3] == "75.0 | 71.0 (1.4)");
  CHECK(side.notes[0].find("a, Two") != std::string::npos);
  CHECK(side.notes[1] == "Not run: x/a");
}

TEST_CASE("A run that is not at its end is told from one that has no such figure") {
  const PaperTable table =
      table_of({{"a", "", "x/a", "", {70, 50}, {}}, {"b", "", "x/b", "", {75, 50}, {}}});
  RunSummary done = run_of(0, 600, 500), begun;
  done.stages = {{"train", "train", "1", true, {}, {}, {}, {}},
                 {"evaluate", "evaluate", "2", true, {}, {}, {}, {}}};
  done.evaluations[0].benchmarks.pop_back();
  begun.label = "a@seed1";
  begun.stages = done.stages;
  begun.stages[1].complete = false;
  TextTable side = side_by_side(table, std::vector<RowRuns>{{begun}, {done}});
  CHECK(side.rows[0] ==
        std::vector<std::string>{"a", "", "1", "70.0 | unfinished", "50.0 | unfinished"});
  CHECK(side.rows[1] == std::vector<std::string>{"b", "", "1", "75.0 | 60.0", "50.0 | -"});
  CHECK(std::isnan(side.values[0][3]));
  CHECK(side.notes ==
        std::vector<std::string>{"Unfinished, that is at work or stopped before the end: a@seed1"});
  // With figures of another seed these are shown, and the note stays.
  side = side_by_side(table, std::vector<RowRuns>{{done, begun}, {}});
  CHECK(side.rows[0] == std::vector<std::string>{"a", "", "2", "70.0 | 60.0", "50.0 | unfinished"});
  REQUIRE(side.notes.size() == 2);
  CHECK(side.notes[0].ends_with(": a@seed1"));
  CHECK(side.notes[1] == "Not run: x/b");
}

TEST_CASE("Figures of written answers: the model's pick, else all answers alike") {
  TemporaryFolder root;
  const fs::path stage = root.path() / ".store/answer_table-1";
  const auto run_with = [&](const std::string& model) {
    write(
        stage / "answers.json",
        R"({"benchmarks":[{"benchmark":"quiz","edition":"a list","mllm":"writer","n":4,"questions":50,"answers":200,"judges":["j"],)"
        R"("failed":{"unparsed":3},"picks":[{"by":"random","metrics":[{"name":"score","value":0.4}]},)"
        R"({"by":"rm","metrics":[{"name":"score","value":0.55},{"name":"accuracy","value":0.5}]},{"by":"oracle","metrics":[{"name":"score","value":0.7}]}],)"
        R"("curves":[{"by":"rm","n":[1,2,4],"value":[0.4,0.5,0.55]}])" +
            std::string(model.empty()
                            ? ""
                            : R"(,"gains":[{"by":")" + model +
                                  R"(","metric":"score","mean":0.15,"low":0.1,"high":0.2}])") +
            "}]}");
    RunSummary run;
    run.name = run.label = "row";
    run.stages.push_back({"best_of_n", "answer_table", "1", true, {}, stage, {}, {}});
    return run;
  };
  CHECK(figure_of(run_with("rm"), "best_of_n.quiz") == .55);
  CHECK(figure_of(run_with("rm"), "best_of_n.quiz.accuracy") == .5);
  CHECK(figure_of(run_with(""), "best_of_n.quiz") == .4);
  CHECK_FALSE(figure_of(run_with("rm"), "best_of_n.other"));
  const std::vector<RunSummary> runs{run_with("rm")};
  const TextTable picks = answers_table(runs), gains = gains_table(runs);
  REQUIRE(picks.rows.size() == 3);
  CHECK(picks.rows[1] == std::vector<std::string>{"row", "writer x 4", "rm", "55.0"});
  REQUIRE(gains.rows.size() == 1);
  CHECK(gains.rows[0] == std::vector<std::string>{"row", "quiz", "score", "50", "40.0", "55.0",
                                                  "+15.0", "+10.0 to +20.0"});
}

TEST_CASE("The paper's results: mistakes are told with file and line") {
  TemporaryFolder root;
  const fs::path file = root.path() / "results.toml";
  const auto error = [&](const std::string& text) {
    write(file, text);
    try {
      read_paper_results(file);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string head =
      "[table1]\ntitle = \"T\"\ncolumns = [\"A\", \"B\"]\nfigures = [\"x\", \"y\"]\n";
  CHECK(error(head + "[[table1.rows]]\nname = \"r\"\nvalues = [1, nan]\n").empty());
  CHECK(error(head + "[[table1.rows]]\nname = \"r\"\nvalues = [1]\n").find("list of 2 numbers") !=
        std::string::npos);
  CHECK(error(head + "[[table1.rows]]\nvalues = [1, 2]\n").find("'name' is missing") !=
        std::string::npos);
  CHECK(error(head).find("without [[rows]]") != std::string::npos);
  CHECK(error(head + "orderings = [\"C\"]\n[[table1.rows]]\nname = \"r\"\nvalues = [1, 2]\n")
            .find("'C' is no column (allowed: A, B)") != std::string::npos);
  CHECK(error(head).find("results.toml:") != std::string::npos);
}
