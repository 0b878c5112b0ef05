// SPDX-License-Identifier: Apache-2.0
// What the mini world may promise, as means over three seeds. Minutes: label slow. DT2IT_SLOW_RUNS names a
// folder that keeps the runs, so that a second try goes on from there.
#include <cstdio>
#include <cstdlib>

#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"
#include "tests/cli/process.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
const std::vector<int> kSeeds = {1, 2, 3};

bool cannot_train() {
  if (fs::exists(DT2IT_BUILD_DIR "/lib/dt2it/plugins/trainers/native.so")) return false;
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
  std::vector<double> accuracies(const std::vector<std::string>& rows, int seed) {
    Words words{"run"};
    for (const std::string& row : rows) words.push_back("experiments/" + row + ".toml");
    words.insert(words.end(), {"--set", "experiment.seed=" + std::to_string(seed), "--runs", runs_.string()});
    const Finished run = dt2it(words);
    INFO(run.err);
    REQUIRE(run.code == 0);
    std::vector<double> result;
    for (const std::string& row : rows) {
      const report::RunSummary summary = report::load_run(runs_ / (row + "@seed" + std::to_string(seed)));
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
  const auto gains =
      mean_gains({"table7/method1_listwise", "table7/method1_diversity", "table7/method1_pointwise"});
  CHECK(gains[1] > 0);
  CHECK(gains[2] >= 0.06);
}

TEST_CASE("Curated data beat uncurated data", "[method3]") {
  if (cannot_train()) return;
  const auto gains = mean_gains({"table7/method3_uncurated", "table7/method3_iteration1"});
  CHECK(gains[1] > 0);
}

}  // namespace dt2it
