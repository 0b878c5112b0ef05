// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which differences between rows are more than chance.

#include <cstdint>
#include <span>
#include <vector>

#include "core/report/run_summary.hpp"
#include "core/report/tables.hpp"

namespace dt2it::report {

// Mean of a - b over paired items, its percentile interval of 95 %, and the two-sided p-value of the hypothesis that it is 0,
// by resampling items with replacement (Efron & Tibshirani 1993, chapter 16: the bootstrap distribution, shifted to mean 0).
// The same seed gives the same figures. Empty input: zeros and p = 1.
struct PairedDifference {
  double mean = 0, low = 0, high = 0, p = 1;
};
PairedDifference paired_bootstrap(std::span<const double> a, std::span<const double> b,
                                  int draws = 10000, std::uint64_t seed = 0);

// Each row against the first, item by item: accuracy on every benchmark both have seen, over all seeds both were run with (an
// item's value is its mean over seeds). Ties and items without rewards count as wrong. No rows with fewer than two runs.
TextTable comparisons_table(std::span<const RunSummary> runs);

}  // namespace dt2it::report
