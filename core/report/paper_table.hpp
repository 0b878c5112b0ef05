// SPDX-License-Identifier: Apache-2.0
#pragma once

// The paper's printed tables beside our runs of the same rows, and which of its orderings ours show.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config/paper_results.hpp"
#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"

namespace dt2it::report {

// The runs of one row, one for each seed; none: it has not been run.
using RowRuns = std::vector<RunSummary>;

// Cells "paper | ours (standard deviation)"; "paper | unfinished" where a run of the row has stages
// to do and none has the figure yet, "paper | -" where it was not run or does not measure it.
// `runs` has one entry for each row of `table`.
TextTable side_by_side(const PaperTable& table, std::span<const RowRuns> runs);

struct Ordering {
  enum class State { holds, not_resolved, fails, not_run };
  std::string column, better, worse;  // by the paper; names of rows
  double paper = 0;                   // by how much, as printed
  double ours = 0;                    // mean over the seeds that both rows were run with
  std::optional<double>
      half_width;  // of the 95 % interval of that mean (Student's t); two seeds at least
  int seeds = 0;
  State state = State::not_run;
};

// Two rows of one group that the paper prints different figures for. holds: the same sign, and the interval does not reach 0;
// not_resolved: it does, or there is one seed; fails: the other sign, and the interval does not reach 0.
std::vector<Ordering> orderings(const PaperTable& table, std::span<const RowRuns> runs);
TextTable orderings_table(const PaperTable& table, std::span<const Ordering> orderings);

}  // namespace dt2it::report
