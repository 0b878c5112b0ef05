// SPDX-License-Identifier: Apache-2.0
#pragma once

// What accuracies hide: does a model go by length or style, does it look at the picture, is it as sure as it is right, do models
// agree. Pure functions of numbers first, then tables of runs.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"

namespace dt2it::report {

// One item of a benchmark and what became of it.
struct Answer {
  std::string benchmark, group;
  bool answered = false;  // both rewards are there
  double margin = 0;      // chosen - rejected; 0 unless answered
  double longer = 0;      // characters of the chosen response beyond those of the rejected one
  double marked = 0;      // the same of Markdown marks
  bool styled = false;    // `longer` and `marked` are known
  bool correct() const { return answered && margin > 0; }
};

// Accuracy where the chosen response is the longer one, where it is the shorter one, and the mean of the two: 50 for whoever goes
// by length alone, whatever the suite's taste. Items of equal length are left out; empty where a side has no items.
struct BalancedAccuracy {
  std::int64_t longer = 0, longer_correct = 0, shorter = 0, shorter_correct = 0;
  std::optional<double> value() const;
};
BalancedAccuracy balanced_accuracy(std::span<const Answer> answers);

// The accuracy that a logistic regression of "correct" on the differences of length and of Markdown (both as signed logarithms,
// scaled to unit root mean square) foretells where both are 0: what a model gets right when style says nothing (the manner of
// AlpacaEval's length control, Dubois et al. 2024). Newton's method, a penalty of 1e-4 on slopes. All or none correct: that.
// Empty without styled items.
std::optional<double> controlled_accuracy(std::span<const Answer> answers);

// How sure against how right: sigmoid of the margin as the probability that a response is preferred. Confidence runs from 0.5
// to 1; a tie is right by half. Items without rewards are left out.
struct CalibrationBin {
  double low = 0, high = 0;
  std::int64_t count = 0;
  double confidence = 0, accuracy = 0;  // means; 0 without items
};
struct Calibration {
  std::vector<CalibrationBin> bins;
  std::int64_t count = 0;
  double error =
      0;  // expected calibration error: mean distance of accuracy and confidence, by count
  double brier = 0;  // mean square of (probability of the chosen response - 1)
};
Calibration calibration(std::span<const Answer> answers, int bins = 10);

// Of items that both have: the share on which both are right or both wrong, and Cohen's kappa of that; kappa is 0 where one of
// them leaves nothing to explain.
struct Agreement {
  std::int64_t items = 0, same = 0, both_wrong = 0;
  double kappa = 0;
};
Agreement agreement(std::span<const Answer> one, std::span<const Answer> other);

// The answers of an evaluate stage, in its order.
std::vector<Answer> read_answers(const StageSummary& stage);

// ---- tables; without rows where there is nothing to say

// Accuracy by length of the chosen response, balanced, and controlled for length and style; for each evaluation with own pictures.
TextTable style_table(std::span<const RunSummary> runs);
// Accuracy with own, blank and swapped pictures, and how many decisions changed; for runs that tried them.
TextTable pictures_table(std::span<const RunSummary> runs);
// Calibration error and Brier score of each evaluation.
TextTable calibration_table(std::span<const RunSummary> runs);
// Cohen's kappa of each two evaluations.
TextTable agreement_table(std::span<const RunSummary> runs);
// Headlines of judges by each convention, from the same verdicts.
TextTable conventions_table(std::span<const RunSummary> runs);

}  // namespace dt2it::report
