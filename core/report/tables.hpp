// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/report/run_summary.hpp"

namespace dt2it::report {

// The three suites by the names that experiments give them.
inline constexpr const char* kSuites[] = {"vl_rewardbench", "multimodal_rewardbench",
                                          "mm_rlhf_rewardbench"};

// Table 1 of the paper. Empty unless all three headlines are there; computed from counts, never
// from rounded percentages.
std::optional<double> mean_accuracy(const Evaluation& evaluation);     // mean of the three
std::optional<double> overall_accuracy(const Evaluation& evaluation);  // all correct / all rows
// Ties of all benchmarks / all their rows.
std::optional<double> tie_fraction(const Evaluation& evaluation);

// A table as cells, so that terminal and page show the same. The first column is text, the others
// are right-aligned; an empty cell means "not there".
struct TextTable {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::vector<double>>
      values;  // beside rows: the number behind a cell, NaN where there is none
  std::vector<std::string> notes;
};

// The layout of Table 7, a row for each evaluation; label noise and ties beside it.
TextTable overview_table(std::span<const RunSummary> runs);
// Where an experiment was run with several seeds: mean and standard deviation over them; else no
// rows.
TextTable seeds_table(std::span<const RunSummary> runs);
// The layouts of Tables 2 to 4: groups as columns, with the benchmark's own summary figures; a
// table for every benchmark that was run, the three suites first.
std::vector<TextTable> benchmark_tables(std::span<const RunSummary> runs);
// Wrong labels against known truth, by source; no rows when no run was audited.
TextTable noise_table(std::span<const RunSummary> runs);

// What style tells of the labels of pairs, by stage and source (stages of type bias): accuracies of small classifiers that see only
// length, Markdown, first words, all of style, or the writer's name. Per cent; 50 is chance. No rows when nothing was measured.
TextTable bias_table(std::span<const RunSummary> runs);
// The sources of the prompts beside the paper's Table 9; no rows when none were collected with a mixture.
TextTable mixture_table(std::span<const RunSummary> runs);

// What curation did to the pairs of each curate stage, and of each source in it: with the truth known, label noise before and
// after, and how right flips and discards were (curation.hpp says how they are counted). No rows without curation.
TextTable curation_table(std::span<const RunSummary> runs);
// The same curator by curator.
TextTable curation_steps_table(const RunSummary& run);
// How the judges answered in curation: failures, ties, the same in both orders, liking for what is shown first.
TextTable curation_judges_table(const RunSummary& run);
// What curation asked of judges and what it came to, beside judging every pair.
TextTable curation_cost_table(std::span<const RunSummary> runs);

// What calls of remote models came to, by stage, model and purpose; no rows when there were none.
TextTable calls_table(std::span<const RunSummary> runs);

// How far judges can be trusted, by scorer: what could be read, ties, preference for length, stability over
// repeats, scores by writer; no rows where nothing was scored. For pages: it reads all candidates.
TextTable judges_table(std::span<const RunSummary> runs);
// The same of judges that compared pairs for a curator: answers, consistency over both orders, stability, preferences.
TextTable pair_judges_table(std::span<const RunSummary> runs);

// What an experiment promised and what came out.
struct Expectation {
  std::string run;
  std::string claim;  // "vl_rewardbench.overall_accuracy >= listwise"
  enum class State { holds, fails, unknown } state = State::unknown;
  std::string detail;  // "79.0 % against 60.6 %", or why it cannot be told
};

// "METRIC" = "OP TARGET": METRIC is BENCHMARK.NAME, mean_accuracy, overall_accuracy or label_noise;
// OP is one of >= > <= < ==; TARGET is a number (a fraction) or the name of another run given here.
std::vector<Expectation> check_expectations(std::span<const RunSummary> runs);

// One table for a terminal.
std::string print_table(const TextTable& table);
// Everything above but the tables of judges, for a terminal.
std::string print_tables(std::span<const RunSummary> runs);

// "78.5": a fraction as per cent with one digit, as the paper prints.
std::string percent(double fraction);
// "355K" from 10,000 on, as the paper prints; else "1,250".
std::string data_size(std::int64_t count);

}  // namespace dt2it::report
