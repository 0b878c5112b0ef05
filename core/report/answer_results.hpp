// SPDX-License-Identifier: Apache-2.0
#pragma once

// What stages of type answer_table have written: figures of written answers, by who picked them.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"

namespace dt2it::report {

struct AnswerResult {
  struct Picks {
    std::string by;
    std::vector<Metric> metrics;  // the headline first
  };
  struct Curve {
    std::string by;
    std::vector<std::int64_t> n;
    std::vector<double> value;
  };
  struct Gain {
    std::string metric;
    double mean = 0, low = 0, high = 0;
  };
  std::string stage, benchmark, edition, mllm;
  std::int64_t n = 0, questions = 0, answers = 0;
  std::vector<std::string> judges;
  std::vector<std::pair<std::string, std::int64_t>> failed;
  std::vector<Picks> picks;
  std::vector<Curve> curves;
  std::string model;  // the reward model that picks; empty: none
  std::vector<Gain> gains;

  const Picks* by(std::string_view name) const;
  // What counts: the model's pick, else a blind one.
  const Picks& counted() const;
};

// Of all stages of the run, in their order.
std::vector<AnswerResult> read_answers(const RunSummary& run);

// A figure of a run by name; none when it has none. label_noise, mean_accuracy, overall_accuracy, SUITE.METRIC (the last
// evaluation); best_of_n.BENCHMARK and offline_rl.BENCHMARK: the headline of the last answers to that benchmark, by the model's
// pick or by all answers alike; with a further .METRIC another figure of theirs.
std::optional<double> figure_of(const RunSummary& run, const std::string& name);

// Ratings are printed as they are, everything else in per cent.
bool is_rating(std::string_view metric);
std::string figure_text(double value, bool rating);

TextTable answers_table(
    std::span<const RunSummary> runs);  // layout of Table 5: who picks, and what comes of it
TextTable gains_table(std::span<const RunSummary> runs);  // of the model's pick over a blind one
TextTable before_after_table(
    std::span<const RunSummary> runs);  // offline reinforcement learning, by seeds

}  // namespace dt2it::report
