// SPDX-License-Identifier: Apache-2.0
#pragma once

// What one run folder (runs/<experiment>/) says, read back for tables and pages. Whatever is not
// there yet is simply absent: a run may be reported on while it is at work.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/report/curation.hpp"
#include "dt2it/trainer.hpp"
#include "dt2it/types.hpp"

namespace dt2it::report {

// One figure of a funnel: how many there were after a step, and what was dropped by it.
struct FunnelStep {
  std::string name;
  std::int64_t count = 0;
  std::vector<std::pair<std::string, std::int64_t>> dropped;  // reason, count; in file order
};

// Calls of one remote model for one purpose: different ones, over all processes that worked on the stage.
struct LedgerLine {
  std::string mllm, endpoint, model, purpose, statuses;
  std::int64_t calls = 0, paid = 0, failed = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;  // of what was paid
  std::int64_t usage_unknown = 0;  // of them by our own estimate
  double cost = 0;
};

struct StageCost {
  double seconds = 0;
  std::int64_t calls = 0, failures = 0, prompt_tokens = 0, completion_tokens = 0;
  std::vector<LedgerLine> ledger;
};

struct StageSummary {
  std::string name, type, key;
  bool complete = false;
  std::vector<std::string> inputs;  // names of stages
  std::filesystem::path folder;     // of its results; equal for runs that share the stage
  std::vector<FunnelStep> funnel;
  std::optional<StageCost> cost;
};

struct BenchmarkResult {
  std::string name;  // of the [benchmarks.*] table
  std::string edition;
  std::string model;
  std::int64_t absent_media = 0;
  std::vector<Metric> metrics;
  std::string pictures;    // "blank" or "swapped": what the model saw instead of the items' own
  std::string convention;  // by which a judge's verdicts are counted in `metrics`
  std::vector<std::pair<std::string, std::vector<Metric>>> by_convention;  // by each that there is
  // Null when there is none.
  const Metric* find(std::string_view metric) const;
  // The headline: overall_accuracy, else accuracy; null when there is none.
  const Metric* headline() const;
};

// One evaluate stage.
struct Evaluation {
  std::string stage;
  std::vector<BenchmarkResult> benchmarks;
  std::optional<std::int64_t> pairs;  // that the evaluated model was trained on
  const BenchmarkResult* find(std::string_view benchmark) const;
};

struct LabelNoise {
  std::string stage;
  std::int64_t right = 0, wrong = 0, tie = 0, unknown = 0;
  std::map<std::string, std::array<std::int64_t, 4>> sources;  // right, wrong, tie, unknown
  // Wrong labels among those that have a better side; empty when there are none such.
  std::optional<double> fraction() const {
    const std::int64_t known = right + wrong;
    return known ? std::optional(static_cast<double>(wrong) / static_cast<double>(known))
                 : std::nullopt;
  }
};

struct TrainingCurve {
  std::string stage;
  std::vector<TrainStep> steps;
  bool timed = false;  // steps have their seconds and memory
};

struct RunSummary {
  std::filesystem::path folder;
  std::string name;   // "table7/method1_listwise"
  std::string label;  // how tables call it: given as such, else the last part of the name
  std::string profile, paper, about, version;
  std::uint64_t seed = 0;
  std::string file;  // of the experiment, as it was given; empty: older runs do not say
  std::vector<std::string> settings, plugin_path;  // --set, --plugin-path
  std::vector<std::pair<std::string, std::string>> expect;
  std::vector<StageSummary> stages;  // every stage after its inputs
  std::vector<Evaluation> evaluations;
  std::vector<LabelNoise> label_noise;
  std::vector<TrainingCurve> training;
  std::vector<Curation> curations;

  const StageSummary* stage(std::string_view name) const;
  // The last audit: the one nearest to the data that was trained on.
  const LabelNoise* noise() const { return label_noise.empty() ? nullptr : &label_noise.back(); }
};

// Throws DataError when `folder` holds no run.json, or a file in it is not what it should be.
RunSummary load_run(const std::filesystem::path& folder);

}  // namespace dt2it::report
