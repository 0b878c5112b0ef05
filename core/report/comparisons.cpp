// SPDX-License-Identifier: Apache-2.0
#include "core/report/comparisons.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "core/report/json_read.hpp"
#include "core/run/layout.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::report {
namespace {

namespace fs = std::filesystem;
using simdjson::dom::element;

// Benchmark -> 1 or 0 for each of its items, in order.
using Correct = std::map<std::string, std::vector<double>>;

Correct read_correct(const fs::path& file) {
  Correct correct;
  if (!fs::exists(file)) return correct;
  for_each_line(file, [&](std::size_t, const element& line) {
    element outcome, status;
    if (line["outcome"].get(outcome)) return;
    const bool ok = text_of(outcome, "status") == "ok";
    const bool right =
        ok && number_of(outcome, "chosen_reward") > number_of(outcome, "rejected_reward");
    correct[text_of(line, "benchmark")].push_back(right ? 1 : 0);
  });
  return correct;
}

// One experiment and evaluate stage, over its seeds.
struct Row {
  std::string key, label;
  std::map<std::uint64_t, Correct> seeds;
};

std::vector<Row> rows_of(std::span<const RunSummary> runs) {
  std::vector<Row> rows;
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations) {
      const std::string key = run.name + "\n" + run.profile + "\n" + evaluation.stage;
      auto at =
          std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.key == key; });
      if (at == rows.end()) {
        std::string label = fs::path(run.name).filename().string();
        if (run.evaluations.size() > 1) label += " / " + evaluation.stage;
        at = rows.insert(rows.end(), Row{key, label, {}});
      }
      if (const StageSummary* stage = run.stage(evaluation.stage))
        at->seeds[run.seed] = read_correct(stage->folder / layout::kOutcomes);
    }
  return rows;
}

std::string points(double difference) { return fmt::format("{:+.1f}", 100 * difference); }

}  // namespace

PairedDifference paired_bootstrap(std::span<const double> a, std::span<const double> b, int draws,
                                  std::uint64_t seed) {
  PairedDifference result;
  const std::size_t n = std::min(a.size(), b.size());
  if (n == 0 || draws < 1) return result;
  std::vector<double> difference(n);
  for (std::size_t i = 0; i < n; ++i) {
    difference[i] = a[i] - b[i];
    result.mean += difference[i];
  }
  result.mean /= static_cast<double>(n);
  Rng rng(stable_hash("bootstrap", seed));
  std::vector<double> means(static_cast<std::size_t>(draws));
  std::size_t beyond = 0;
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += difference[rng.below(n)];
    mean = sum / static_cast<double>(n);
    // A hair's breadth below counts as reached: sums in another order round differently.
    beyond += std::abs(mean - result.mean) >= std::abs(result.mean) - 1e-12;
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double quantile) {
    return means[std::min(means.size() - 1,
                          static_cast<std::size_t>(quantile * static_cast<double>(means.size())))];
  };
  result.low = at(0.025);
  result.high = at(0.975);
  result.p = static_cast<double>(beyond + 1) / static_cast<double>(draws + 1);
  return result;
}

TextTable comparisons_table(std::span<const RunSummary> runs) {
  TextTable table;
  const std::vector<Row> rows = rows_of(runs);
  if (rows.size() < 2) return table;
  const Row& base = rows.front();
  table.title =
      fmt::format("Against {}: difference of accuracy in points (95 % interval), p", base.label);
  table.header = {"Method", "Benchmark", "Seeds", "Items", "Difference", "Interval", "p"};
  for (const Row& row : std::span(rows).subspan(1)) {
    std::map<std::string, std::pair<std::vector<double>, std::vector<double>>>
        sums;  // benchmark -> of row, of base
    std::map<std::string, int> seeds;
    std::set<std::string> unequal;
    for (const auto& [seed, own] : row.seeds) {
      const auto other = base.seeds.find(seed);
      if (other == base.seeds.end()) continue;
      for (const auto& [benchmark, correct] : own) {
        const auto found = other->second.find(benchmark);
        if (found == other->second.end()) continue;
        auto& [mine, theirs] = sums[benchmark];
        if (mine.empty()) mine.resize(correct.size()), theirs.resize(correct.size());
        if (found->second.size() != correct.size() || mine.size() != correct.size()) {
          unequal.insert(benchmark);
          continue;
        }
        ++seeds[benchmark];
        for (std::size_t i = 0; i < correct.size(); ++i) {
          mine[i] += correct[i];
          theirs[i] += found->second[i];
        }
      }
    }
    for (auto& [benchmark, two] : sums) {
      if (unequal.contains(benchmark) || seeds[benchmark] == 0) continue;
      const double count = seeds[benchmark];
      for (std::vector<double>* values : {&two.first, &two.second})
        for (double& value : *values) value /= count;
      const PairedDifference result = paired_bootstrap(two.first, two.second);
      table.rows.push_back({row.label, benchmark, std::to_string(seeds[benchmark]),
                            std::to_string(two.first.size()), points(result.mean),
                            points(result.low) + " to " + points(result.high),
                            result.p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", result.p)});
      table.values.push_back({std::nan(""), std::nan(""), count,
                              static_cast<double>(two.first.size()), result.mean, std::nan(""),
                              result.p});
    }
  }
  table.notes.push_back(
      "Items are resampled 10,000 times with both rows' answers to them; several seeds are "
      "averaged by item first.");
  if (std::ranges::any_of(rows, [](const Row& row) { return row.seeds.size() < 2; }))
    table.notes.push_back(
        "This is of one training each and says nothing of what another seed would give, which may "
        "be several points: --seeds 0,1,2.");
  return table;
}

}  // namespace dt2it::report
