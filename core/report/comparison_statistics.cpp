// SPDX-License-Identifier: Apache-2.0
#include "core/report/comparison_statistics.hpp"

#include <algorithm>
#include <vector>

#include "core/report/families.hpp"
#include "core/report/json_read.hpp"
#include "core/report/repeats.hpp"

namespace dt2it::report {

namespace {

using simdjson::dom::element;

// What one judge says of a pair: for the chosen response 1, for the rejected one -1, a tie 0.
struct Opinion {
  int sum = 0, votes = 0;
  std::vector<int> shown_chosen, shown_rejected;  // by the response that was shown first
  void add(bool chosen_first, int vote) {
    sum += vote;
    ++votes;
    (chosen_first ? shown_chosen : shown_rejected).push_back(vote);
  }
  double mean() const { return static_cast<double>(sum) / votes; }
  // How often the response was ahead; a tie is half.
  double ahead(bool chosen) const { return (1 + (chosen ? mean() : -mean())) / 2; }
};

void add_repeats(const std::string& detail, ComparisonStatistics& judge) {
  const auto votes = votes_in(detail);
  if (!votes || votes->all() < 2) return;
  ++judge.repeated;
  judge.majority += static_cast<double>(votes->most()) / static_cast<double>(votes->all());
}

}  // namespace

ComparisonStatistics& ComparisonStatistics::operator+=(const ComparisonStatistics& other) {
  asked += other.asked, ties += other.ties;
  for (const auto& [status, count] : other.failed) failed[status] += count;
  first_ahead += other.first_ahead;
  both_orders += other.both_orders, same += other.same, by_place += other.by_place;
  unequal += other.unequal, longer_ahead += other.longer_ahead;
  repeated += other.repeated, majority += other.majority;
  own_pairs += other.own_pairs, others_votes += other.others_votes;
  own_ahead += other.own_ahead, others_ahead += other.others_ahead;
  return *this;
}

std::map<std::string, double> add_comparisons(const element& decision, const Families& families,
                                              JudgeComparisons& judges) {
  simdjson::dom::array verdicts;
  if (decision["detail"]["verdicts"].get(verdicts)) return {};
  element responses;
  const bool known = !decision["responses"].get(responses);
  const auto of = [&](const char* side, const char* key) {
    element response;
    return known && !responses[side].get(response) ? text_of(response, key) : std::string();
  };
  const std::string writers[] = {of("chosen", "mllm"), of("rejected", "mllm")};
  std::int64_t lengths[] = {0, 0};
  if (known && (responses["chosen"]["length"].get(lengths[0]) ||
                responses["rejected"]["length"].get(lengths[1])))
    lengths[0] = lengths[1] = 0;

  std::map<std::string, Opinion> opinions;
  for (const element one : verdicts) {
    const std::string name = text_of(one, "judge"), better = text_of(one, "better"),
                      status = text_of(one, "status");
    ComparisonStatistics& judge = judges[name];
    ++judge.asked;
    if (better != "chosen" && better != "rejected" && better != "tie") {
      ++judge.failed[status.empty() ? "invalid" : status];
      continue;
    }
    const bool chosen_first = text_of(one, "shown_first") == "chosen";
    const int vote = better == "tie" ? 0 : better == "chosen" ? 1 : -1;
    opinions[name].add(chosen_first, vote);
    add_repeats(text_of(one, "detail"), judge);
    if (vote == 0) {
      ++judge.ties;
      continue;
    }
    judge.first_ahead += (vote == 1) == chosen_first;
    if (lengths[0] == lengths[1]) continue;
    ++judge.unequal;
    judge.longer_ahead += (vote == 1) == (lengths[0] > lengths[1]);
  }
  std::map<std::string, double> means;
  for (const auto& [name, opinion] : opinions) {
    means[name] = opinion.mean();
    ComparisonStatistics& judge = judges[name];
    const std::size_t both = std::min(opinion.shown_chosen.size(), opinion.shown_rejected.size());
    for (std::size_t i = 0; i < both; ++i) {
      const int there = opinion.shown_chosen[i], back = opinion.shown_rejected[i];
      ++judge.both_orders;
      judge.same += there == back;
      judge.by_place += there != back && there != 0 && back != 0;
    }
    const std::string own = families.of_judge(name);
    if (own.empty() || writers[0].empty() || writers[1].empty()) continue;
    const bool chosen_own = families.of_writer(writers[0]) == own;
    if (chosen_own == (families.of_writer(writers[1]) == own)) continue;
    ++judge.own_pairs;
    judge.own_ahead += opinion.ahead(chosen_own);
    for (const auto& [other, theirs] : opinions) {
      if (other == name || families.of_judge(other) == own) continue;
      ++judge.others_votes;
      judge.others_ahead += theirs.ahead(chosen_own);
    }
  }
  return means;
}

}  // namespace dt2it::report
