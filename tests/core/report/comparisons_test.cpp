// SPDX-License-Identifier: Apache-2.0
#include "core/report/comparisons.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "core/util/files.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::testing::TemporaryFolder;

namespace {

// A run with one evaluate stage whose items are right where `right` says so.
RunSummary run_of(const TemporaryFolder& folder, const std::string& name, std::uint64_t seed,
                  const std::string& right) {
  RunSummary run;
  run.name = "table7/" + name;
  run.label = name;
  run.seed = seed;
  StageSummary stage;
  stage.name = "evaluate";
  stage.folder = folder.path() / fmt::format("{}{}", name, seed);
  std::filesystem::create_directories(stage.folder);
  std::string lines;
  for (const char c : right)
    lines +=
        c == '?'
            ? R"({"benchmark":"b","outcome":{"row":0,"status":"unparsed"}})"
              "\n"
            : fmt::format(
                  R"({{"benchmark":"b","outcome":{{"row":0,"status":"ok","chosen_reward":{},"rejected_reward":0.5}}}})"
                  "\n",
                  c == '1'   ? 1.0
                  : c == '=' ? 0.5
                             : 0.0);
  write_file_atomically(stage.folder / "outcomes.jsonl", lines);
  run.stages.push_back(stage);
  run.evaluations.push_back({"evaluate", {}, std::nullopt});
  return run;
}

}  // namespace

TEST_CASE(
    "The paired bootstrap agrees with the normal interval, and knows no difference from one") {
  Rng rng(1);
  std::vector<double> a, b;
  for (int i = 0; i < 400; ++i) {
    const bool both = rng.chance(.6);
    a.push_back(both || rng.chance(.5) ? 1 : 0);  // .8
    b.push_back(both || rng.chance(.3) ? 1 : 0);  // .72
  }
  double mean = 0, squares = 0;
  for (int i = 0; i < 400; ++i) mean += (a[i] - b[i]) / 400;
  for (int i = 0; i < 400; ++i) squares += std::pow(a[i] - b[i] - mean, 2) / 400;
  const double error = std::sqrt(squares / 400);
  const PairedDifference result = paired_bootstrap(a, b);
  CHECK(result.mean == Approx(mean));
  CHECK(result.low == Approx(mean - 1.96 * error).margin(.003));
  CHECK(result.high == Approx(mean + 1.96 * error).margin(.003));
  const double z = mean / error;
  CHECK(result.p == Approx(std::erfc(std::abs(z) / std::sqrt(2.0))).margin(.01));
  CHECK(paired_bootstrap(a, b).p == result.p);
  const PairedDifference same = paired_bootstrap(a, a);
  CHECK(same.mean == 0);
  CHECK(same.p == 1);
  CHECK(paired_bootstrap({}, {}).p == 1);
}

TEST_CASE("Rows are compared with the first, over the seeds and benchmarks both have") {
  const TemporaryFolder folder;
  std::vector<RunSummary> runs{
      run_of(folder, "base", 0, "1100110011"), run_of(folder, "better", 0, "1111111101"),
      run_of(folder, "base", 1, "1100110000"), run_of(folder, "better", 1, "11111111=?"),
      run_of(folder, "other", 0, "110011")};
  const TextTable table = comparisons_table(runs);
  CHECK_THAT(table.title, Catch::Contains("Against base"));
  REQUIRE(table.rows.size() == 1);  // "other" has another number of items
  CHECK(table.rows[0][0] == "better");
  CHECK(table.rows[0][2] == "2");
  CHECK(table.rows[0][3] == "10");
  // (9 + 8) / 20 against (6 + 4) / 20; a tie and an answer that could not be read are wrong.
  CHECK(table.rows[0][4] == "+35.0");
  CHECK(comparisons_table(std::span(runs).first(1)).rows.empty());
  CHECK(comparisons_table({}).rows.empty());
}
