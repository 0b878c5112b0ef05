// SPDX-License-Identifier: Apache-2.0
// What the mini world may promise, as means over three seeds. Minutes: label slow. DT2IT_SLOW_RUNS names a
// folder that keeps the runs, so that a second try goes on from there.
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/report/answer_results.hpp"
#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const std::vector<int> kSeeds = {1, 2, 3};

bool cannot_train() {
  if (fs::exists(build_path("/lib/dt2it/plugins/trainers/native.so"))) return false;
  std::puts("skipped: training needs LibTorch (built with DT2IT_TORCH=OFF)");
  return true;
}

// Runs rows under a seed and gives their overall accuracies.
class Rows {
 public:
  Rows() {
    const char* kept = std::getenv("DT2IT_SLOW_RUNS");
    runs_ = kept ? fs::absolute(kept) : temporary_.path();
  }
  std::vector<report::RunSummary> run(const std::vector<std::string>& rows, int seed) {
    Words words{"run"};
    for (const std::string& row : rows) words.push_back("experiments/" + row + ".toml");
    words.insert(words.end(),
                 {"--set", "experiment.seed=" + std::to_string(seed), "--runs", runs_.string()});
    const Finished run = dt2it(words);
    INFO(run.err);
    REQUIRE(run.code == 0);
    std::vector<report::RunSummary> summaries;
    for (const std::string& row : rows)
      summaries.push_back(report::load_run(runs_ / (row + "@seed" + std::to_string(seed))));
    return summaries;
  }
  std::vector<double> accuracies(const std::vector<std::string>& rows, int seed) {
    std::vector<double> result;
    const std::vector<report::RunSummary> summaries = run(rows, seed);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string& row = rows[i];
      const report::RunSummary& summary = summaries[i];
      REQUIRE_FALSE(summary.evaluations.empty());
      const auto accuracy = report::overall_accuracy(summary.evaluations.back());
      REQUIRE(accuracy);
      result.push_back(*accuracy);
      std::printf("seed %d  %-32s %.1f\n", seed, row.c_str(), 100 * *accuracy);
      std::fflush(stdout);
    }
    return result;
  }

 private:
  testing::TemporaryFolder temporary_;
  fs::path runs_;
};

// Mean over the seeds of what each row has more than the first one.
std::vector<double> mean_gains(const std::vector<std::string>& rows) {
  Rows runner;
  std::vector<double> gains(rows.size(), 0);
  for (const int seed : kSeeds) {
    const std::vector<double> accuracies = runner.accuracies(rows, seed);
    for (std::size_t i = 0; i < rows.size(); ++i)
      gains[i] += (accuracies[i] - accuracies[0]) / static_cast<double>(kSeeds.size());
  }
  for (std::size_t i = 1; i < rows.size(); ++i)
    std::printf("%s - %s: %+.1f points\n", rows[i].c_str(), rows[0].c_str(), 100 * gains[i]);
  return gains;
}

}  // namespace

TEST_CASE("Diversity and pointwise scores each beat listwise scores alone", "[method1]") {
  if (cannot_train()) return;
  const auto gains = mean_gains(
      {"table7/method1_listwise", "table7/method1_diversity", "table7/method1_pointwise"});
  CHECK(gains[1] > 0);
  CHECK(gains[2] >= 0.06);
}

TEST_CASE("Curated data beat uncurated data", "[method3]") {
  if (cannot_train()) return;
  const auto gains = mean_gains({"table7/method3_uncurated", "table7/method3_iteration1"});
  CHECK(gains[1] > 0);
}

TEST_CASE("Best of four: what the model picks beats a blind pick by more than its interval",
          "[best_of_n]") {
  if (cannot_train()) return;
  Rows runner;
  const auto runs =
      runner.run({"table5/internvl2_5_8b_dt2it_mrm", "table5/llava_onevision_7b_dt2it_mrm",
                  "table5/qwen2_5_vl_7b_dt2it_mrm"},
                 1);
  for (const report::RunSummary& run : runs) {
    const auto results = report::read_answers(run);
    REQUIRE(results.size() == 3);
    for (const report::AnswerResult& result : results) {
      INFO(run.name << ", " << result.benchmark);
      REQUIRE_FALSE(result.gains.empty());
      for (const report::AnswerResult::Gain& gain : result.gains)
        if (gain.metric == "score" || gain.metric == "accuracy") {
          std::printf("%s, %s, %s: %+.1f points (%+.1f to %+.1f)\n", run.name.c_str(),
                      result.benchmark.c_str(), gain.metric.c_str(), 100 * gain.mean,
                      100 * gain.low, 100 * gain.high);
          if (gain.metric == "score")
            CHECK(gain.low > 0);  // what the model was trained to see; accuracy alone gains less
        }
    }
  }
}

TEST_CASE("DPO on what the model tells apart raises the policy's true accuracy", "[dpo]") {
  if (cannot_train()) return;
  Rows runner;
  std::map<std::string, double> change;
  for (const int seed : kSeeds) {
    const auto results = report::read_answers(runner.run({"table6/dt2it_mrm"}, seed).front());
    for (const auto& after : results)
      for (const auto& before : results)
        if (before.stage == after.stage + ".before" && before.benchmark == after.benchmark)
          for (const Metric& now : after.picks.front().metrics)
            for (const Metric& then : before.picks.front().metrics)
              if (now.name == "accuracy" && then.name == now.name)
                change[after.benchmark] +=
                    (now.value - then.value) / static_cast<double>(kSeeds.size());
  }
  CHECK(change.size() == 3);
  for (const auto& [benchmark, points] : change) {
    std::printf("%s: accuracy %+.1f points\n", benchmark.c_str(), 100 * points);
    INFO(benchmark);
    CHECK(points > 0);
  }
}

}  // namespace dt2it
