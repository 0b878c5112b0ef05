// SPDX-License-Identifier: Apache-2.0
// The analyses as tables of runs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <map>

#include "core/report/analyses.hpp"
#include "core/report/json_read.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {
namespace {

using simdjson::dom::element;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void add_row(TextTable& table, std::string label, const std::vector<std::optional<double>>& values,
             const std::function<std::string(std::size_t, double)>& text) {
  auto& cells = table.rows.emplace_back();
  auto& numbers = table.values.emplace_back();
  cells.push_back(std::move(label));
  numbers.push_back(kNone);
  for (std::size_t i = 0; i < values.size(); ++i) {
    cells.push_back(values[i] ? text(i, *values[i]) : "");
    numbers.push_back(values[i].value_or(kNone));
  }
}

std::optional<double> share(std::int64_t part, std::int64_t whole) {
  return whole ? std::optional(static_cast<double>(part) / static_cast<double>(whole))
               : std::nullopt;
}

std::optional<double> accuracy_of(std::span<const Answer> answers) {
  return share(
      std::count_if(answers.begin(), answers.end(), [](const Answer& a) { return a.correct(); }),
      static_cast<std::int64_t>(answers.size()));
}

std::string pictures_of(const Evaluation& evaluation) {
  for (const BenchmarkResult& result : evaluation.benchmarks)
    if (!result.pictures.empty()) return result.pictures;
  return {};
}

struct Row {
  std::string label;
  const RunSummary* run;
  const Evaluation* evaluation;
  std::vector<Answer> answers;
};

std::string label_of(const RunSummary& run, const Evaluation& evaluation) {
  const auto own = std::count_if(run.evaluations.begin(), run.evaluations.end(),
                                 [](const Evaluation& one) { return pictures_of(one).empty(); });
  return own <= 1 ? run.label : run.label + " / " + evaluation.stage;
}

// Evaluations with their own pictures.
std::vector<Row> own_rows(std::span<const RunSummary> runs) {
  std::vector<Row> rows;
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations) {
      const StageSummary* stage = run.stage(evaluation.stage);
      if (!stage || !pictures_of(evaluation).empty()) continue;
      Row row{label_of(run, evaluation), &run, &evaluation, read_answers(*stage)};
      if (!row.answers.empty()) rows.push_back(std::move(row));
    }
  return rows;
}

std::string figure(double value) { return fmt::format("{:.3f}", value); }

}  // namespace

std::vector<Answer> read_answers(const StageSummary& stage) {
  std::vector<Answer> answers;
  for_each_line(stage.folder / layout::kOutcomes, [&](std::size_t, const element& line) {
    element outcome;
    if (line["outcome"].get(outcome)) return;
    Answer answer;
    answer.benchmark = text_of(line, "benchmark");
    answer.group = text_of(outcome, "group");
    answer.answered = text_of(outcome, "status") == "ok";
    if (answer.answered)
      answer.margin = number_of(outcome, "chosen_reward") - number_of(outcome, "rejected_reward");
    answers.push_back(std::move(answer));
  });
  std::size_t at = 0;
  for_each_line(stage.folder / layout::kItems, [&](std::size_t, const element& line) {
    element chosen, rejected;
    if (at >= answers.size()) return;
    Answer& answer = answers[at++];
    if (line["style"]["chosen"].get(chosen) || line["style"]["rejected"].get(rejected)) return;
    answer.styled = true;
    answer.longer = number_of(chosen, "characters") - number_of(rejected, "characters");
    answer.marked = number_of(chosen, "marks") - number_of(rejected, "marks");
  });
  return answers;
}

TextTable style_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Accuracy at equal length and style";
  table.header = {"Model",           "Accuracy",           "Chosen longer",
                  "Chosen shorter",  "Balanced by length", "Controlled for style",
                  "Longer, of items"};
  for (const Row& row : own_rows(runs)) {
    const BalancedAccuracy balanced = balanced_accuracy(row.answers);
    if (balanced.longer + balanced.shorter == 0) continue;
    add_row(table, row.label,
            {accuracy_of(row.answers), share(balanced.longer_correct, balanced.longer),
             share(balanced.shorter_correct, balanced.shorter), balanced.value(),
             controlled_accuracy(row.answers),
             share(balanced.longer, balanced.longer + balanced.shorter)},
            [](std::size_t, double value) { return percent(value); });
  }
  if (!table.rows.empty()) {
    table.notes.push_back(
        "All items together. Balanced: mean of the two before; 50 for whoever goes by length "
        "alone.");
    table.notes.push_back(
        "Controlled: what a regression on the differences of length and Markdown foretells where "
        "both are 0.");
  }
  return table;
}

TextTable pictures_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Does the model look? Accuracy with other pictures";
  table.header = {"Model / benchmark", "Own", "Blank", "Swapped", "Changed by blank",
                  "Changed by swapped"};
  for (const RunSummary& run : runs) {
    // By reward model: its answers with each kind of picture.
    std::map<std::string, std::map<std::string, std::vector<Answer>>> models;
    std::vector<std::string> order;
    for (const Evaluation& evaluation : run.evaluations) {
      const StageSummary* stage = run.stage(evaluation.stage);
      if (!stage || evaluation.benchmarks.empty()) continue;
      const std::string pictures = pictures_of(evaluation),
                        model = evaluation.benchmarks.front().model;
      if (!models.contains(model)) order.push_back(model);
      models[model].emplace(pictures.empty() ? "own" : pictures, read_answers(*stage));
    }
    for (const std::string& model : order) {
      auto& kinds = models[model];
      if (!kinds.contains("own") || kinds.size() < 2) continue;
      std::vector<std::string> benchmarks;
      for (const Answer& answer : kinds["own"])
        if (benchmarks.empty() || benchmarks.back() != answer.benchmark)
          benchmarks.push_back(answer.benchmark);
      for (const std::string& benchmark : benchmarks) {
        const auto of = [&](const std::string& kind) {
          std::vector<Answer> answers;
          if (const auto found = kinds.find(kind); found != kinds.end())
            std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(answers),
                         [&](const Answer& answer) { return answer.benchmark == benchmark; });
          return answers;
        };
        const std::vector<Answer> own = of("own"), blank = of("blank"), swapped = of("swapped");
        const auto changed = [&](const std::vector<Answer>& other) -> std::optional<double> {
          if (other.size() != own.size()) return std::nullopt;
          const Agreement both = agreement(own, other);
          return share(both.items - both.same, both.items);
        };
        add_row(table, run.label + " (" + model + ") / " + benchmark,
                {accuracy_of(own), accuracy_of(blank), accuracy_of(swapped), changed(blank),
                 changed(swapped)},
                [](std::size_t, double value) { return percent(value); });
      }
    }
  }
  if (!table.rows.empty())
    table.notes.push_back(
        "Blank: grey of the same size. Swapped: another item's. Changed: items that were right and "
        "are not, or the other way round.");
  return table;
}

TextTable calibration_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Calibration: how sure against how right";
  table.header = {"Model",      "Items", "Mean confidence", "Accuracy", "Calibration error",
                  "Brier score"};
  for (const Row& row : own_rows(runs)) {
    const Calibration result = calibration(row.answers);
    if (result.count == 0) continue;
    double confidence = 0, correct = 0;
    for (const CalibrationBin& bin : result.bins) {
      confidence += bin.confidence * static_cast<double>(bin.count);
      correct += bin.accuracy * static_cast<double>(bin.count);
    }
    const auto count = static_cast<double>(result.count);
    add_row(table, row.label,
            {count, confidence / count, correct / count, result.error, result.brier},
            [](std::size_t i, double value) {
              return i == 0 ? data_size(static_cast<std::int64_t>(value)) : figure(value);
            });
  }
  if (!table.rows.empty())
    table.notes.push_back(
        "The probability that a response is preferred is the sigmoid of its margin; of judges the "
        "margin is the share of votes, "
        "which says little of how sure they are.");
  return table;
}

TextTable agreement_table(std::span<const RunSummary> runs) {
  TextTable table;
  const std::vector<Row> rows = own_rows(runs);
  if (rows.size() < 2) return table;
  table.title = "Agreement of models: Cohen's kappa of being right";
  table.header = {"Model"};
  for (const Row& row : rows) table.header.push_back(row.label);
  for (const Row& one : rows) {
    std::vector<std::optional<double>> values;
    for (const Row& other : rows) {
      const Agreement both = agreement(one.answers, other.answers);
      values.push_back(&one != &other && both.items > 0 &&
                               one.answers.size() == other.answers.size()
                           ? std::optional(both.kappa)
                           : std::nullopt);
    }
    add_row(table, one.label, values,
            [](std::size_t, double value) { return fmt::format("{:.2f}", value); });
  }
  table.notes.push_back("1: always right on the same items; 0: as often as chance has it.");
  return table;
}

TextTable conventions_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Judges by convention: the same verdicts, counted differently";
  std::vector<std::pair<std::string, std::string>> columns;  // benchmark, convention
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations)
      for (const BenchmarkResult& result : evaluation.benchmarks)
        for (const auto& [convention, metrics] : result.by_convention)
          if (std::find(columns.begin(), columns.end(), std::pair(result.name, convention)) ==
              columns.end())
            columns.emplace_back(result.name, convention);
  if (columns.empty()) return table;
  std::stable_sort(columns.begin(), columns.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const std::string& name) {
      return std::find(std::begin(kSuites), std::end(kSuites), name) - std::begin(kSuites);
    };
    return rank(a.first) < rank(b.first);
  });
  table.header = {"Model"};
  for (const auto& [benchmark, convention] : columns)
    table.header.push_back(benchmark + ": " + convention);
  table.header.emplace_back("Unread");
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations) {
      std::vector<std::optional<double>> values;
      std::int64_t failed = 0, items = 0;
      bool any = false;
      for (const auto& [benchmark, convention] : columns) {
        std::optional<double> value;
        if (const BenchmarkResult* result = evaluation.find(benchmark))
          for (const auto& [name, metrics] : result->by_convention)
            if (name == convention && !metrics.empty()) value = metrics.front().value;
        any = any || value;
        values.push_back(value);
      }
      for (const BenchmarkResult& result : evaluation.benchmarks)
        if (const Metric* one = result.find("failed"); one && one->correct && one->total)
          failed += *one->correct, items += *one->total;
      values.push_back(share(failed, items));
      if (any)
        add_row(table,
                run.evaluations.size() == 1 ? run.label : run.label + " / " + evaluation.stage,
                values, [](std::size_t, double value) { return percent(value); });
    }
  table.notes.push_back(
      "Each convention's own headline: lmms-eval's on VL-RewardBench is the mean of groups, the "
      "others' all rows. Unread: items without "
      "a verdict that could be read.");
  return table;
}

}  // namespace dt2it::report
