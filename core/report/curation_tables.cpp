// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/report/curation.hpp"
#include "core/report/table_row.hpp"

namespace dt2it::report {

namespace {

const char* const kTruthColumns[] = {"Wrong before, %",  "Wrong after, %",    "Flips right, %",
                                     "Wrong flipped, %", "Discards right, %", "Bad discarded, %"};
const char* const kTruthNote =
    "Flips right: of the flipped labels, those that were wrong (precision). Wrong flipped: of the "
    "wrong labels, those that were "
    "flipped (recall). Bad: wrong or a tie.";

void add_truth(TableRow& row, const CurationCounts& counts) {
  row.share(counts.found.noise()).share(counts.left.noise());
  row.share(counts.flip_precision()).share(counts.flip_recall());
  row.share(counts.filter_precision()).share(counts.filter_recall());
}

std::optional<double> share(std::int64_t part, std::int64_t of) {
  return of ? std::optional(static_cast<double>(part) / static_cast<double>(of)) : std::nullopt;
}

// Calls use(label, run, curation), each stage once: runs share them.
template <class Use>
void each_curation(std::span<const RunSummary> runs, Use use) {
  std::set<std::filesystem::path> seen;
  for (const RunSummary& run : runs)
    for (const Curation& curation : run.curations)
      if (seen.insert(curation.folder).second)
        use(runs.size() == 1 ? curation.stage : run.label + " / " + curation.stage, run, curation);
}

}  // namespace

TextTable curation_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "Curation";
  table.header = {"Pairs", "Entered", "Kept", "Flipped", "Discarded", "Left"};
  bool truth = false;
  each_curation(runs, [&](const std::string&, const RunSummary&, const Curation& curation) {
    truth |= curation.truth_known;
  });
  if (truth) {
    table.header.insert(table.header.end(), std::begin(kTruthColumns), std::end(kTruthColumns));
    table.notes.emplace_back(kTruthNote);
  }
  each_curation(runs, [&](const std::string& label, const RunSummary&, const Curation& curation) {
    const auto add = [&](const std::string& name, const CurationCounts& counts) {
      TableRow row;
      row.text(name)
          .count(counts.seen)
          .count(counts.kept)
          .count(counts.flipped)
          .count(counts.discarded)
          .count(counts.left_over());
      if (truth) add_truth(row, counts);
      row.into(table);
    };
    add(label, curation.total().whole);
    if (curation.sources.size() > 1)
      for (const auto& [source, counts] : curation.sources)
        add(label + ": " + source, counts.whole);
  });
  return table;
}

TextTable curation_steps_table(const RunSummary& run) {
  TextTable table;
  table.title = "Curation, step by step";
  table.header = {"Step", "Saw", "Kept", "Flipped", "Flipped, goes on", "Left open", "Discarded"};
  const bool truth = std::any_of(run.curations.begin(), run.curations.end(),
                                 [](const Curation& one) { return one.truth_known; });
  if (truth) {
    table.header.insert(table.header.end(), std::begin(kTruthColumns), std::end(kTruthColumns));
    table.notes.push_back(
        std::string(kTruthNote) +
        " Wrong before: of the pairs the step saw; after: of all pairs of the source "
        "that are not discarded by then.");
  }
  for (const Curation& curation : run.curations) {
    const auto add = [&](const std::string& source, const Curation::Source& counts) {
      for (std::size_t i = 0; i < counts.steps.size(); ++i) {
        const CurationCounts& step = counts.steps[i];
        TableRow row;
        row.text(curation.stage + ": " + (source.empty() ? "" : source + ": ") +
                 curation.curators[i]);
        row.count(step.seen)
            .count(step.kept)
            .count(step.flipped)
            .count(step.passed_flipped)
            .count(step.open)
            .count(step.discarded);
        if (truth) add_truth(row, step);
        row.into(table);
      }
    };
    add("", curation.total());
    if (curation.sources.size() > 1)
      for (const auto& [source, counts] : curation.sources) add(source, counts);
  }
  return table;
}

TextTable curation_judges_table(const RunSummary& run) {
  TextTable table;
  table.title = "Judges in curation";
  table.header = {
      "Judge",         "Comparisons", "No answer, %", "Ties, %", "Same in both orders, %",
      "First place, %"};
  for (const Curation& curation : run.curations)
    for (const auto& [name, judge] : curation.judges) {
      TableRow row;
      row.text(curation.stage + ": " + name)
          .count(judge.asked)
          .share(share(judge.asked - judge.answered(), judge.asked));
      row.share(share(judge.ties, judge.answered())).share(share(judge.same, judge.both_orders));
      row.share(share(judge.first_ahead, judge.decided())).into(table);
    }
  return table;
}

TextTable curation_cost_table(std::span<const RunSummary> runs) {
  TextTable table;
  table.title = "What curation asked of judges";
  table.header = {"Stage",    "Pairs", "Judged", "Comparisons", "If all were judged",
                  "Saved, %", "Calls", "Failed", "Tokens",      "Cost",
                  "Seconds"};
  each_curation(
      runs, [&](const std::string& label, const RunSummary& run, const Curation& curation) {
        const StageSummary* stage = run.stage(curation.stage);
        if (curation.judged == 0 && !(stage && stage->cost && stage->cost->calls > 0)) return;
        const std::int64_t pairs = curation.total().whole.seen;
        TableRow row;
        row.text(label).count(pairs);
        if (curation.judged > 0) {
          const double all = static_cast<double>(curation.comparisons) /
                             static_cast<double>(curation.judged) * static_cast<double>(pairs);
          row.count(curation.judged)
              .count(curation.comparisons)
              .number(all, 0)
              .share(1 - static_cast<double>(curation.comparisons) / all);
        } else {
          for (int i = 0; i < 4; ++i) row.text("");  // asked without comparisons on record
        }
        if (stage && stage->cost) {
          double cost = 0;
          for (const LedgerLine& line : stage->cost->ledger) cost += line.cost;
          row.count(stage->cost->calls)
              .count(stage->cost->failures)
              .count(stage->cost->prompt_tokens + stage->cost->completion_tokens);
          row.number(cost, 4).number(stage->cost->seconds, 1);
        } else {
          for (int i = 0; i < 5; ++i) row.text("");
        }
        row.into(table);
      });
  return table;
}

}  // namespace dt2it::report
