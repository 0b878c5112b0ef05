// SPDX-License-Identifier: Apache-2.0
// How far judges can be trusted.
#include <fmt/format.h>

#include <limits>
#include <set>

#include "core/report/comparison_statistics.hpp"
#include "core/report/families.hpp"
#include "core/report/judge_statistics.hpp"
#include "core/report/tables.hpp"
#include "core/run/layout.hpp"

namespace dt2it::report {
namespace {

class Row {
 public:
  Row& text(std::string text) {
    return add(std::move(text), std::numeric_limits<double>::quiet_NaN());
  }
  Row& count(std::int64_t number) {
    return add(std::to_string(number), static_cast<double>(number));
  }
  template <class Part>
  Row& share(Part part, std::int64_t whole) {
    const double value = static_cast<double>(part) / static_cast<double>(whole);
    return whole ? add(percent(value), value) : text("");
  }
  Row& mean(double sum, std::int64_t whole) {
    return whole ? figure(sum / static_cast<double>(whole)) : text("");
  }
  Row& figure(double value) { return add(fmt::format("{:.2f}", value), value); }
  Row& cost(double value) { return value > 0 ? figure(value) : text(""); }
  void into(TextTable& table) {
    texts_.resize(table.header.size());
    values_.resize(table.header.size(), std::numeric_limits<double>::quiet_NaN());
    table.rows.push_back(std::move(texts_));
    table.values.push_back(std::move(values_));
  }

 private:
  Row& add(std::string text, double value) {
    texts_.push_back(std::move(text));
    values_.push_back(value);
    return *this;
  }
  std::vector<std::string> texts_;
  std::vector<double> values_;
};

void add_scorer(TextTable& table, const std::string& label, const ScorerStatistics& scorer,
                const Families& families) {
  Row row;
  row.text(label)
      .count(scorer.asked())
      .share(scorer.scored, scorer.asked())
      .mean(scorer.sum, scorer.scored);
  row.share(scorer.ties, scorer.couples);
  if (scorer.places.empty())
    row.text("");
  else
    row.mean(scorer.places[0].deviation, scorer.places[0].count);
  row.share(scorer.longer_ahead, scorer.unequal).mean(scorer.spread, scorer.repeated);
  const std::string own = families.of_scorer(scorer.name);
  std::int64_t own_count = 0, other_count = 0;
  double own_sum = 0, other_sum = 0;
  for (const auto& [writer, figures] : scorer.writers) {
    const bool is_own = !writer.empty() && families.of_writer(writer) == own;
    (is_own ? own_count : other_count) += figures.first;
    (is_own ? own_sum : other_sum) += figures.second;
  }
  if (!own.empty() && own_count > 0 && other_count > 0)
    row.figure(own_sum / static_cast<double>(own_count) -
               other_sum / static_cast<double>(other_count));
  else
    row.text("");
  row.cost(families.cost_of_scorer(scorer.name)).into(table);
  for (const auto& [writer, figures] : scorer.writers)
    if (scorer.writers.size() > 1 && !writer.empty())
      Row()
          .text("  of " + writer)
          .count(figures.first)
          .text("")
          .mean(figures.second, figures.first)
          .into(table);
}

}  // namespace

TextTable judges_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Judges";
  table.header = {"Scorer",      "Asked",           "Read, %",           "Mean",       "Ties, %",
                  "First place", "Longer ahead, %", "Spread of repeats", "Own family", "Cost"};
  std::set<std::filesystem::path> seen;
  for (const RunSummary& run : runs) {
    // The last file of candidates has the scores of all scorers before it.
    const StageSummary* last = nullptr;
    for (const StageSummary& stage : run.stages)
      if (std::filesystem::exists(stage.folder / layout::kCandidates)) last = &stage;
    if (!last || !seen.insert(last->folder).second) continue;
    const Families families(run);
    for (const ScorerStatistics& scorer :
         judge_statistics(last->folder / layout::kCandidates).scorers)
      add_scorer(table, runs.size() == 1 ? scorer.name : run.label + " / " + scorer.name, scorer,
                 families);
  }
  return table;
}

TextTable pair_judges_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Judges of pairs";
  table.header = {"Judge",
                  "Asked",
                  "Answered, %",
                  "Ties, %",
                  "Both orders",
                  "Same, %",
                  "By place, %",
                  "First ahead, %",
                  "Longer ahead, %",
                  "Repeats alike, %",
                  "Own family ahead, %",
                  "... of others, %",
                  "Cost"};
  std::set<std::filesystem::path> seen;  // runs share stages
  for (const RunSummary& run : runs) {
    JudgeComparisons judges;
    std::map<std::string, double> costs;  // by mllm, in the stages that are counted here
    for (const Curation& curation : run.curations) {
      if (!seen.insert(curation.folder).second) continue;
      for (const auto& [name, judge] : curation.judges) judges[name] += judge;
      if (const StageSummary* stage = run.stage(curation.stage); stage && stage->cost)
        for (const LedgerLine& line : stage->cost->ledger) costs[line.mllm] += line.cost;
    }
    const Families families(run);
    std::map<std::string, int> users;  // of an mllm: its calls cannot be told apart by judge
    for (const auto& [name, judge] : judges) ++users[families.mllm_of_judge(name)];
    for (const auto& [name, judge] : judges) {
      const std::string mllm = families.mllm_of_judge(name);
      Row row;
      row.text(runs.size() == 1 ? name : run.label + " / " + name)
          .count(judge.asked)
          .share(judge.answered(), judge.asked);
      row.share(judge.ties, judge.answered())
          .count(judge.both_orders)
          .share(judge.same, judge.both_orders);
      row.share(judge.by_place, judge.both_orders)
          .share(judge.first_ahead, judge.decided())
          .share(judge.longer_ahead, judge.unequal);
      row.share(judge.majority, judge.repeated).share(judge.own_ahead, judge.own_pairs);
      row.share(judge.others_ahead, judge.others_votes)
          .cost(!mllm.empty() && users[mllm] == 1 ? costs[mllm] : 0)
          .into(table);
    }
  }
  return table;
}

}  // namespace dt2it::report
