// SPDX-License-Identifier: Apache-2.0
#pragma once

// How judges compared pairs: what curators with a panel of judges leave in decisions.jsonl.

#include <simdjson.h>

#include <cstdint>
#include <map>
#include <string>

namespace dt2it::report {

class Families;

struct ComparisonStatistics {
  std::int64_t asked = 0, ties = 0;
  std::map<std::string, std::int64_t> failed;  // by status
  std::int64_t first_ahead = 0;  // of the answers without a tie: the response that was shown first
  // Pairs that were answered in both orders: the same response both times (or a tie both times),
  // and twice the one shown first or twice the other.
  std::int64_t both_orders = 0, same = 0, by_place = 0;
  std::int64_t unequal = 0,
               longer_ahead = 0;  // answers without a tie on responses of different length
  // Where the judge was asked repeatedly: comparisons, and the sum of the shares of the commonest
  // vote.
  std::int64_t repeated = 0;
  double majority = 0;
  // One response of the judge's own family, one of another: how often its own was ahead (a tie is
  // half), and the same of the other judges of the panel on the same pairs.
  std::int64_t own_pairs = 0, others_votes = 0;
  double own_ahead = 0, others_ahead = 0;

  std::int64_t answered() const {
    std::int64_t all = asked;
    for (const auto& [status, count] : failed) all -= count;
    return all;
  }
  // Answers that are no tie.
  std::int64_t decided() const { return answered() - ties; }
  ComparisonStatistics& operator+=(const ComparisonStatistics& other);
};

using JudgeComparisons = std::map<std::string, ComparisonStatistics>;  // by judge

// Adds what one line of decisions.jsonl holds of judges' answers. Returns what each judge that
// answered says of the pair: 1 for the chosen response, -1 for the rejected one, a tie 0; the mean
// of its answers.
std::map<std::string, double> add_comparisons(const simdjson::dom::element& decision,
                                              const Families& families, JudgeComparisons& judges);

}  // namespace dt2it::report
