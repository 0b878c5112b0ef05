// SPDX-License-Identifier: Apache-2.0
#include "core/report/answer_results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/report/json_read.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {
namespace {

using simdjson::dom::element;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number_or_none(const element& from, std::string_view key) {
  double number = 0;
  return from[key].get(number) ? kNone : number;
}

AnswerResult result_of(const element& json, const std::string& stage) {
  AnswerResult result;
  result.stage = stage;
  result.benchmark = text_of(json, "benchmark");
  result.edition = text_of(json, "edition");
  result.mllm = text_of(json, "mllm");
  result.n = integer_of(json, "n");
  result.questions = integer_of(json, "questions");
  result.answers = integer_of(json, "answers");
  each(json, "judges", [&](const element& judge) {
    if (std::string_view name; !judge.get(name)) result.judges.emplace_back(name);
  });
  each_member(json, "failed", [&](std::string_view status, const element& count) {
    if (std::int64_t number = 0; !count.get(number)) result.failed.emplace_back(status, number);
  });
  each(json, "picks", [&](const element& item) {
    AnswerResult::Picks picks{text_of(item, "by"), {}};
    each(item, "metrics", [&](const element& metric) {
      picks.metrics.push_back({text_of(metric, "name"), number_or_none(metric, "value"), {}, {}});
    });
    result.picks.push_back(std::move(picks));
  });
  each(json, "curves", [&](const element& item) {
    AnswerResult::Curve curve{text_of(item, "by"), {}, {}};
    each(item, "n", [&](const element& n) {
      if (std::int64_t number = 0; !n.get(number)) curve.n.push_back(number);
    });
    each(item, "value", [&](const element& value) {
      double number = 0;
      curve.value.push_back(value.get(number) ? kNone : number);
    });
    result.curves.push_back(std::move(curve));
  });
  each(json, "gains", [&](const element& item) {
    result.model = text_of(item, "by");
    result.gains.push_back({text_of(item, "metric"), number_of(item, "mean"),
                            number_of(item, "low"), number_of(item, "high")});
  });
  return result;
}

struct Cells {
  std::vector<std::string> texts;
  std::vector<double> values;
  void text(std::string text) { add(std::move(text), kNone); }
  void add(std::string text, double value) {
    texts.push_back(std::move(text));
    values.push_back(value);
  }
  void figure(double value, bool rating) {
    std::isnan(value) ? text("") : add(figure_text(value, rating), value);
  }
  void into(TextTable& table) {
    table.rows.push_back(std::move(texts));
    table.values.push_back(std::move(values));
  }
};

std::string label_of(const RunSummary& run, const AnswerResult& result,
                     std::span<const RunSummary> runs) {
  std::set<std::string> stages;
  for (const AnswerResult& one : read_answers(run)) stages.insert(one.stage);
  static_cast<void>(runs);
  return stages.size() > 1 ? run.label + " / " + result.stage : run.label;
}

std::string points(double value, bool rating) {
  return rating ? fmt::format("{:+.2f}", value) : fmt::format("{:+.1f}", 100 * value);
}

}  // namespace

const AnswerResult::Picks* AnswerResult::by(std::string_view name) const {
  for (const Picks& one : picks)
    if (one.by == name) return &one;
  return nullptr;
}

const AnswerResult::Picks& AnswerResult::counted() const {
  const Picks* found = model.empty() ? nullptr : by(model);
  return found ? *found : picks.front();
}

std::vector<AnswerResult> read_answers(const RunSummary& run) {
  std::vector<AnswerResult> results;
  for (const StageSummary& stage : run.stages) {
    simdjson::dom::parser parser;
    element root;
    if (stage.type != "answer_table" || !read_json(stage.folder / layout::kAnswers, parser, root))
      continue;
    each(root, "benchmarks", [&](const element& json) {
      AnswerResult result = result_of(json, stage.name);
      if (!result.picks.empty()) results.push_back(std::move(result));
    });
  }
  return results;
}

std::optional<double> figure_of(const RunSummary& run, const std::string& name) {
  if (name == "label_noise") return run.noise() ? run.noise()->fraction() : std::nullopt;
  const std::size_t dot = name.find('.');
  const std::string head = name.substr(0, dot),
                    rest = dot == std::string::npos ? "" : name.substr(dot + 1);
  if (head == "best_of_n" || head == "offline_rl") {
    const std::size_t second = rest.find('.');
    const std::string benchmark = rest.substr(0, second);
    std::optional<double> found;
    for (const AnswerResult& result : read_answers(run)) {
      if (result.benchmark != benchmark) continue;
      const auto& metrics = result.counted().metrics;
      for (const Metric& metric : metrics)
        if (second == std::string::npos ? &metric == &metrics.front()
                                        : metric.name == rest.substr(second + 1))
          found = metric.value;
    }
    return found;
  }
  if (run.evaluations.empty()) return std::nullopt;
  const Evaluation& evaluation = run.evaluations.back();
  if (name == "mean_accuracy") return mean_accuracy(evaluation);
  if (name == "overall_accuracy") return overall_accuracy(evaluation);
  const BenchmarkResult* result = evaluation.find(head);
  const Metric* metric = result && !rest.empty() ? result->find(rest) : nullptr;
  return metric ? std::optional(metric->value) : std::nullopt;
}

bool is_rating(std::string_view metric) { return metric.starts_with("rating"); }

std::string figure_text(double value, bool rating) {
  return rating ? fmt::format("{:.2f}", value) : percent(value);
}

TextTable answers_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Written answers: the benchmark's figure of what was picked (layout of Table 5)";
  std::vector<std::string> benchmarks;
  std::vector<std::vector<AnswerResult>> results;
  for (const RunSummary& run : runs)
    for (const AnswerResult& result : results.emplace_back(read_answers(run)))
      if (std::ranges::find(benchmarks, result.benchmark) == benchmarks.end())
        benchmarks.push_back(result.benchmark);
  if (benchmarks.empty()) return table;
  table.header = {"Answers", "Of", "Picked by"};
  table.header.insert(table.header.end(), benchmarks.begin(), benchmarks.end());
  for (std::size_t r = 0; r < runs.size(); ++r) {
    std::vector<std::string> stages;
    for (const AnswerResult& result : results[r])
      if (std::ranges::find(stages, result.stage) == stages.end()) stages.push_back(result.stage);
    for (const std::string& stage : stages) {
      std::vector<std::string> pickers;
      for (const AnswerResult& result : results[r])
        if (result.stage == stage)
          for (const auto& picks : result.picks)
            if (std::ranges::find(pickers, picks.by) == pickers.end()) pickers.push_back(picks.by);
      for (const std::string& picker : pickers) {
        Cells cells;
        std::string mllm;
        std::vector<double> figures;
        std::vector<bool> ratings;
        for (const std::string& benchmark : benchmarks) {
          double value = kNone;
          bool rating = false;
          for (const AnswerResult& result : results[r]) {
            if (result.stage != stage || result.benchmark != benchmark) continue;
            mllm = fmt::format("{} x {}", result.mllm, result.n);
            if (const auto* picks = result.by(picker); picks && !picks->metrics.empty()) {
              value = picks->metrics.front().value;
              rating = is_rating(picks->metrics.front().name);
            }
          }
          figures.push_back(value);
          ratings.push_back(rating);
        }
        cells.text(stages.size() > 1 ? runs[r].label + " / " + stage : runs[r].label);
        cells.text(mllm);
        cells.text(picker);
        for (std::size_t i = 0; i < figures.size(); ++i) cells.figure(figures[i], ratings[i]);
        cells.into(table);
      }
    }
    for (const AnswerResult& result : results[r]) {
      std::string note = fmt::format("{}: {}", result.benchmark, result.edition);
      if (!result.judges.empty())
        note += fmt::format(", graded by {}", fmt::join(result.judges, ", "));
      if (std::ranges::find(table.notes, note) == table.notes.end()) table.notes.push_back(note);
      for (const auto& [status, count] : result.failed)
        table.notes.push_back(fmt::format("{}, {}: {} of {} answers have no grade ({})",
                                          runs[r].label, result.benchmark, count, result.answers,
                                          status));
    }
  }
  table.notes.push_back(
      "random: the mean over all answers; random draw: one drawn for each question; oracle: the "
      "best by the benchmark's own grade.");
  return table;
}

TextTable gains_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "What the model's pick has more than a blind one (95 % interval over questions)";
  table.header = {"Answers", "Benchmark", "Figure", "Questions",
                  "Blind",   "Picked",    "Gain",   "Interval"};
  for (const RunSummary& run : runs)
    for (const AnswerResult& result : read_answers(run)) {
      const auto value = [&](const AnswerResult::Picks* picks, const std::string& name) {
        if (picks)
          for (const Metric& metric : picks->metrics)
            if (metric.name == name) return metric.value;
        return kNone;
      };
      for (const AnswerResult::Gain& gain : result.gains) {
        if (gain.metric.find('/') != std::string::npos) continue;  // groups are for files
        const bool rating = is_rating(gain.metric);
        Cells cells;
        cells.text(label_of(run, result, runs));
        cells.text(result.benchmark);
        cells.text(gain.metric);
        cells.add(std::to_string(result.questions), static_cast<double>(result.questions));
        cells.figure(value(result.by("random"), gain.metric), rating);
        cells.figure(value(result.by(result.model), gain.metric), rating);
        cells.add(points(gain.mean, rating), gain.mean);
        cells.text(points(gain.low, rating) + " to " + points(gain.high, rating));
        cells.into(table);
      }
    }
  return table;
}

TextTable before_after_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title =
      "The policy before and after training: means over its answers, standard deviation over seeds";
  table.header = {"Training", "Benchmark", "Figure",    "Seeds",          "Before",
                  "After",    "Change",    "Deviation", "Smallest change"};
  struct Line {
    std::string run, benchmark, metric;
    std::vector<double> before, after;
  };
  std::vector<Line> lines;
  for (const RunSummary& run : runs) {
    const std::vector<AnswerResult> results = read_answers(run);
    for (const AnswerResult& after : results)
      for (const AnswerResult& before : results) {
        if (before.stage != after.stage + ".before" || before.benchmark != after.benchmark)
          continue;
        for (const Metric& metric : after.picks.front().metrics) {
          if (metric.name.find('/') != std::string::npos) continue;
          for (const Metric& old : before.picks.front().metrics) {
            if (old.name != metric.name) continue;
            auto at = std::ranges::find_if(lines, [&](const Line& line) {
              return line.run == run.name && line.benchmark == after.benchmark &&
                     line.metric == metric.name;
            });
            if (at == lines.end())
              at = lines.insert(lines.end(), {run.name, after.benchmark, metric.name, {}, {}});
            at->before.push_back(old.value);
            at->after.push_back(metric.value);
          }
        }
      }
  }
  for (const Line& line : lines) {
    const auto n = static_cast<double>(line.before.size());
    double before = 0, after = 0, squares = 0, least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < line.before.size(); ++i) {
      before += line.before[i] / n;
      after += line.after[i] / n;
      least = std::min(least, line.after[i] - line.before[i]);
    }
    for (std::size_t i = 0; i < line.before.size(); ++i)
      squares += std::pow(line.after[i] - line.before[i] - (after - before), 2);
    const bool rating = is_rating(line.metric);
    Cells cells;
    cells.text(std::filesystem::path(line.run).filename().string());
    cells.text(line.benchmark);
    cells.text(line.metric);
    cells.add(std::to_string(line.before.size()), n);
    cells.figure(before, rating);
    cells.figure(after, rating);
    cells.add(points(after - before, rating), after - before);
    if (n > 1)
      cells.figure(std::sqrt(squares / (n - 1)), rating);
    else
      cells.text("");
    cells.add(points(least, rating), least);
    cells.into(table);
  }
  return table;
}

}  // namespace dt2it::report
