// SPDX-License-Identifier: Apache-2.0
#include "core/report/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/report/analyses.hpp"
#include "core/report/answer_results.hpp"
#include "core/report/comparisons.hpp"
#include "core/report/judge_statistics.hpp"

namespace dt2it::report {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Suite {
  const char* name;
  const char* title;
  std::vector<std::pair<const char*, const char*>> columns;  // metric, heading
};

// The paper's columns first, then what our reports add.
const std::vector<Suite>& suites() {
  static const std::vector<Suite> list{{kSuites[0],
                                        "VL-RewardBench (layout of Table 2)",
                                        {{"accuracy/general", "General"},
                                         {"accuracy/hallucination", "Hallucination"},
                                         {"accuracy/reasoning", "Reasoning"},
                                         {"overall_accuracy", "Overall Acc"},
                                         {"macro_accuracy", "Macro Acc"}}},
                                       {kSuites[1],
                                        "Multimodal RewardBench (layout of Table 3)",
                                        {{"overall_accuracy", "Overall"},
                                         {"accuracy/correctness", "Correctness"},
                                         {"accuracy/preference", "Preference"},
                                         {"accuracy/knowledge", "Knowledge"},
                                         {"accuracy/math", "Math"},
                                         {"accuracy/coding", "Coding"},
                                         {"accuracy/safety", "Safety"},
                                         {"accuracy/vqa", "VQA"},
                                         {"macro_accuracy", "Mean of columns"}}},
                                       {kSuites[2],
                                        "MM-RLHF-RewardBench (layout of Table 4)",
                                        {{"accuracy/mcq", "MCQ"},
                                         {"accuracy/long", "Long"},
                                         {"accuracy/short", "Short"},
                                         {"accuracy/safety", "Safety"},
                                         {"accuracy/video", "Video"},
                                         {"accuracy", "Acc"},
                                         {"acc_plus", "Acc+"}}}};
  return list;
}

struct Cell {
  std::string text;
  double value = kNone;
};

Cell percent_cell(std::optional<double> fraction) {
  return fraction ? Cell{percent(*fraction), *fraction} : Cell{};
}
Cell metric_cell(const Metric* metric) { return metric ? percent_cell(metric->value) : Cell{}; }

void add_row(TextTable& table, const std::vector<Cell>& cells) {
  auto& texts = table.rows.emplace_back();
  auto& values = table.values.emplace_back();
  for (const Cell& cell : cells) {
    texts.push_back(cell.text);
    values.push_back(cell.value);
  }
}

std::string row_label(const RunSummary& run, const Evaluation& evaluation) {
  return run.evaluations.size() == 1 ? run.label : run.label + " / " + evaluation.stage;
}

template <class Use>
void each_evaluation(std::span<const RunSummary> runs, Use use) {
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations) use(run, evaluation);
}

void add_note(TextTable& table, const std::string& note) {
  if (std::find(table.notes.begin(), table.notes.end(), note) == table.notes.end())
    table.notes.push_back(note);
}

TextTable benchmark_table(std::span<const RunSummary> runs, const Suite& suite) {
  TextTable table;
  table.title = suite.title;
  std::vector<std::pair<std::string, std::string>> columns(suite.columns.begin(),
                                                           suite.columns.end());
  if (columns.empty())  // not one of the three: whatever figures it has
    each_evaluation(runs, [&](const RunSummary&, const Evaluation& evaluation) {
      if (const BenchmarkResult* result = evaluation.find(suite.name))
        for (const Metric& metric : result->metrics)
          if (metric.name != "ties" && metric.name != "failed" &&
              std::none_of(columns.begin(), columns.end(),
                           [&](auto& c) { return c.first == metric.name; }))
            columns.emplace_back(metric.name, metric.name);
    });
  std::map<std::int64_t, std::string> absent;  // items: the rows of this table
  table.header = {"Model"};
  for (const auto& [metric, heading] : columns) table.header.push_back(heading);
  table.header.insert(table.header.end(), {"Ties", "Failed", "Rows"});
  each_evaluation(runs, [&](const RunSummary& run, const Evaluation& evaluation) {
    const BenchmarkResult* result = evaluation.find(suite.name);
    if (!result) return;
    std::vector<Cell> cells{{row_label(run, evaluation)}};
    for (const auto& [metric, heading] : columns)
      cells.push_back(metric_cell(result->find(metric)));
    cells.push_back(metric_cell(result->find("ties")));
    cells.push_back(metric_cell(result->find("failed")));
    const Metric* headline = result->headline();
    cells.push_back(headline && headline->total
                        ? Cell{data_size(*headline->total), static_cast<double>(*headline->total)}
                        : Cell{});
    add_row(table, cells);
    if (!result->edition.empty()) add_note(table, result->edition);
    std::string sizes;
    for (const auto& [metric, heading] : columns)
      if (const Metric* group = result->find(metric);
          group && group->total && metric.starts_with("accuracy/"))
        sizes += fmt::format("{}{} {}", sizes.empty() ? "Rows: " : ", ", heading,
                             data_size(*group->total));
    if (const Metric* plus = result->find("acc_plus"); plus && plus->total)
      sizes += fmt::format("{}{} ids", sizes.empty() ? "Rows of " : "; ", *plus->total);
    if (!sizes.empty()) add_note(table, sizes);
    if (result->absent_media) {
      std::string& labels = absent[result->absent_media];
      labels += (labels.empty() ? "" : ", ") + row_label(run, evaluation);
    }
  });
  for (const auto& [count, labels] : absent)
    table.notes.push_back(
        fmt::format("Images or videos are absent in {} items: {}", data_size(count), labels));
  return table;
}

// Columns that a terminal needs for UTF-8 text; wide characters do not occur in tables.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string pad(const std::string& text, std::size_t to, bool left) {
  const std::string space(to - std::min(to, width(text)), ' ');
  return left ? text + space : space + text;
}

std::string print(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (const std::string& cell : table.header) widths.push_back(width(cell));
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width(row[i].empty() ? "-" : row[i]));
  std::string out = table.title + "\n";
  auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      out += (i ? "  " : "") + pad(cells[i].empty() ? "-" : cells[i], widths[i], i == 0);
    out += "\n";
  };
  line(table.header);
  std::size_t total = 2 * (widths.size() - 1);
  for (std::size_t one : widths) total += one;
  out += std::string(total, '-') + "\n";
  for (const auto& row : table.rows) line(row);
  for (const std::string& note : table.notes) out += "  " + note + "\n";
  return out;
}

}  // namespace

std::string print_table(const TextTable& table) { return print(table); }

std::string percent(double fraction) { return fmt::format("{:.1f}", 100 * fraction); }

std::string data_size(std::int64_t count) {
  if (count >= 10'000) return fmt::format("{:.0f}K", static_cast<double>(count) / 1000);
  return count >= 1000 ? fmt::format("{},{:03}", count / 1000, count % 1000)
                       : std::to_string(count);
}

std::optional<double> mean_accuracy(const Evaluation& evaluation) {
  double sum = 0;
  // Added up in the order of the authors' script, so that the last digit is theirs.
  for (const char* suite : {kSuites[2], kSuites[0], kSuites[1]}) {
    const BenchmarkResult* result = evaluation.find(suite);
    const Metric* headline = result ? result->headline() : nullptr;
    if (!headline || !headline->correct || !headline->total || *headline->total == 0)
      return std::nullopt;
    sum += static_cast<double>(*headline->correct) / static_cast<double>(*headline->total);
  }
  return sum / 3;
}

std::optional<double> overall_accuracy(const Evaluation& evaluation) {
  std::int64_t correct = 0, total = 0;
  for (const char* suite : kSuites) {
    const BenchmarkResult* result = evaluation.find(suite);
    const Metric* headline = result ? result->headline() : nullptr;
    if (!headline || !headline->correct || !headline->total || *headline->total == 0)
      return std::nullopt;
    correct += *headline->correct;
    total += *headline->total;
  }
  return static_cast<double>(correct) / static_cast<double>(total);
}

std::optional<double> tie_fraction(const Evaluation& evaluation) {
  std::int64_t ties = 0, total = 0;
  for (const BenchmarkResult& result : evaluation.benchmarks)
    if (const Metric* metric = result.find("ties"); metric && metric->correct && metric->total) {
      ties += *metric->correct;
      total += *metric->total;
    }
  if (!total) return std::nullopt;
  return static_cast<double>(ties) / static_cast<double>(total);
}

TextTable overview_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Accuracy in per cent (layout of Table 7)";
  table.header = {"Method",
                  "#Data",
                  "VL-RewardBench",
                  "Multimodal RewardBench",
                  "MM-RLHF-RewardBench",
                  "Mean Acc",
                  "Overall Acc",
                  "Label noise",
                  "Ties"};
  each_evaluation(runs, [&](const RunSummary& run, const Evaluation& evaluation) {
    std::vector<Cell> cells{{row_label(run, evaluation)}};
    cells.push_back(evaluation.pairs
                        ? Cell{data_size(*evaluation.pairs), static_cast<double>(*evaluation.pairs)}
                        : Cell{});
    for (const char* suite : kSuites) {
      const BenchmarkResult* result = evaluation.find(suite);
      cells.push_back(metric_cell(result ? result->headline() : nullptr));
    }
    cells.push_back(percent_cell(mean_accuracy(evaluation)));
    cells.push_back(percent_cell(overall_accuracy(evaluation)));
    const LabelNoise* noise = run.noise();
    cells.push_back(percent_cell(noise ? noise->fraction() : std::nullopt));
    cells.push_back(percent_cell(tie_fraction(evaluation)));
    add_row(table, cells);
  });
  for (const RunSummary& run : runs)
    if (run.evaluations.empty() && read_answers(run).empty())
      table.notes.push_back(run.label + ": no benchmark has been run in it");
  return table;
}

TextTable seeds_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Over seeds: mean (standard deviation)";
  table.header = {
      "Method",   "Seeds",       "VL-RewardBench", "Multimodal RewardBench", "MM-RLHF-RewardBench",
      "Mean Acc", "Overall Acc", "Label noise"};
  struct Group {
    std::string label;
    int seeds = 0;
    std::array<std::vector<double>, 6> figures;
  };
  std::vector<std::pair<std::string, Group>> groups;  // in the order of the runs
  each_evaluation(runs, [&](const RunSummary& run, const Evaluation& evaluation) {
    const std::string key = run.name + "\n" + run.profile + "\n" + evaluation.stage;
    auto at = std::find_if(groups.begin(), groups.end(),
                           [&](const auto& group) { return group.first == key; });
    if (at == groups.end()) {
      std::string label = std::filesystem::path(run.name).filename().string();
      if (run.evaluations.size() > 1) label += " / " + evaluation.stage;
      at = groups.insert(groups.end(), {key, Group{label, 0, {}}});
    }
    Group& group = at->second;
    ++group.seeds;
    const auto add = [&](std::size_t i, std::optional<double> figure) {
      if (figure) group.figures[i].push_back(*figure);
    };
    for (std::size_t i = 0; i < 3; ++i) {
      const BenchmarkResult* result = evaluation.find(kSuites[i]);
      if (const Metric* headline = result ? result->headline() : nullptr) add(i, headline->value);
    }
    add(3, mean_accuracy(evaluation));
    add(4, overall_accuracy(evaluation));
    add(5, run.noise() ? run.noise()->fraction() : std::nullopt);
  });
  for (const auto& [key, group] : groups) {
    if (group.seeds < 2) continue;
    std::vector<Cell> cells{{group.label},
                            {std::to_string(group.seeds), static_cast<double>(group.seeds)}};
    for (const std::vector<double>& figures : group.figures) {
      const auto n = static_cast<double>(figures.size());
      double sum = 0, squares = 0;
      for (double figure : figures) sum += figure;
      for (double figure : figures) squares += (figure - sum / n) * (figure - sum / n);
      cells.push_back(figures.size() < 2 ? Cell{}
                                         : Cell{percent(sum / n) + " (" +
                                                    percent(std::sqrt(squares / (n - 1))) + ")",
                                                sum / n});
    }
    add_row(table, cells);
  }
  return table;
}

std::vector<TextTable> benchmark_tables(std::span<const RunSummary> runs) {
  std::vector<Suite> list = suites();
  std::vector<std::string> others;
  each_evaluation(runs, [&](const RunSummary&, const Evaluation& evaluation) {
    for (const BenchmarkResult& result : evaluation.benchmarks)
      if (std::none_of(list.begin(), list.end(),
                       [&](const Suite& s) { return result.name == s.name; }) &&
          std::find(others.begin(), others.end(), result.name) == others.end())
        others.push_back(result.name);
  });
  for (const std::string& name : others) list.push_back({name.c_str(), name.c_str(), {}});
  std::vector<TextTable> tables;
  for (const Suite& suite : list)
    if (TextTable table = benchmark_table(runs, suite); !table.rows.empty())
      tables.push_back(std::move(table));
  return tables;
}

TextTable noise_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Labels against known truth";
  table.header = {"Pairs", "Wrong, %", "Right", "Wrong", "Tie", "Unknown"};
  auto add = [&](const std::string& label, const std::array<std::int64_t, 4>& counts) {
    const std::int64_t known = counts[0] + counts[1];
    std::vector<Cell> cells{{label}};
    cells.push_back(
        known ? percent_cell(static_cast<double>(counts[1]) / static_cast<double>(known)) : Cell{});
    for (std::int64_t count : counts)
      cells.push_back({std::to_string(count), static_cast<double>(count)});
    add_row(table, cells);
  };
  for (const RunSummary& run : runs)
    for (const LabelNoise& noise : run.label_noise) {
      const std::string label =
          run.label_noise.size() == 1 ? run.label : run.label + " / " + noise.stage;
      add(label, {noise.right, noise.wrong, noise.tie, noise.unknown});
      if (noise.sources.size() > 1)
        for (const auto& [source, counts] : noise.sources) add(label + ": " + source, counts);
    }
  return table;
}

namespace {

// "https://api.openai.com/v1" -> "api.openai.com"
std::string host_of(const std::string& url) {
  const std::size_t scheme = url.find("//");
  const std::size_t start = scheme == std::string::npos ? 0 : scheme + 2;
  return url.substr(start, url.find_first_of("/?", start) - start);
}

}  // namespace

TextTable calls_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Calls of remote models";
  table.header = {"Stage",  "Model", "Endpoint", "Purpose",  "Calls", "Paid",
                  "Failed", "Sent",  "Cached",   "Answered", "Cost"};
  LedgerLine sum;
  std::set<std::filesystem::path> seen;  // runs share stages
  const auto add = [&](const std::string& stage, const LedgerLine& line) {
    std::vector<Cell> cells{{stage},
                            {line.model.empty() ? "" : line.mllm + " (" + line.model + ")"},
                            {host_of(line.endpoint)},
                            {line.purpose}};
    for (const std::int64_t count : {line.calls, line.paid, line.failed, line.prompt_tokens,
                                     line.cached_tokens, line.completion_tokens})
      cells.push_back({std::to_string(count), static_cast<double>(count)});
    cells.push_back({fmt::format("{:.4f}", line.cost), line.cost});
    add_row(table, cells);
  };
  for (const RunSummary& run : runs)
    for (const StageSummary& stage : run.stages) {
      if (!stage.cost || stage.cost->ledger.empty() || !seen.insert(stage.folder).second) continue;
      for (const LedgerLine& line : stage.cost->ledger) {
        add(runs.size() == 1 ? stage.name : run.label + " / " + stage.name, line);
        sum.calls += line.calls;
        sum.paid += line.paid;
        sum.failed += line.failed;
        sum.prompt_tokens += line.prompt_tokens;
        sum.cached_tokens += line.cached_tokens;
        sum.completion_tokens += line.completion_tokens;
        sum.usage_unknown += line.usage_unknown;
        sum.cost += line.cost;
      }
    }
  if (table.rows.size() > 1) add("all", sum);
  if (sum.usage_unknown > 0)
    table.notes.push_back(fmt::format("{} answers came without usage: their tokens are estimated",
                                      sum.usage_unknown));
  return table;
}

std::string print_tables(std::span<const RunSummary> runs) {
  std::string out = print(overview_table(runs));
  if (const TextTable seeds = seeds_table(runs); !seeds.rows.empty()) out += "\n" + print(seeds);
  if (const TextTable table = comparisons_table(runs); !table.rows.empty())
    out += "\n" + print(table);
  for (const TextTable& table : benchmark_tables(runs)) out += "\n" + print(table);
  for (const TextTable& table : {conventions_table(runs), pictures_table(runs), style_table(runs),
                                 answers_table(runs), gains_table(runs), before_after_table(runs)})
    if (!table.rows.empty()) out += "\n" + print(table);
  if (const TextTable noise = noise_table(runs); !noise.rows.empty()) out += "\n" + print(noise);
  if (const TextTable curation = curation_table(runs); !curation.rows.empty())
    out += "\n" + print(curation);
  if (const TextTable cost = curation_cost_table(runs); !cost.rows.empty())
    out += "\n" + print(cost);
  if (const TextTable mixture = mixture_table(runs); mixture.rows.size() > 1)
    out += "\n" + print(mixture);
  if (const TextTable bias = bias_table(runs); !bias.rows.empty()) out += "\n" + print(bias);
  if (const TextTable calls = calls_table(runs); !calls.rows.empty()) out += "\n" + print(calls);
  const auto expectations = check_expectations(runs);
  if (!expectations.empty()) out += "\nWhat the experiments expect\n";
  for (const Expectation& one : expectations) {
    const char* state = one.state == Expectation::State::holds   ? "holds"
                        : one.state == Expectation::State::fails ? "DOES NOT HOLD"
                                                                 : "cannot be told";
    out += fmt::format("  {}: {}: {} ({})\n", one.run, one.claim, state, one.detail);
  }
  return out;
}

}  // namespace dt2it::report
