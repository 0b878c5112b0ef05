// SPDX-License-Identifier: Apache-2.0
#include "core/report/comparison_statistics.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/report/json_read.hpp"

namespace dt2it::report {

namespace {

using simdjson::dom::element;

// What one judge says of a pair: for the chosen response 1, for the rejected one 0, a tie 0.5.
struct Opinion {
  double sum = 0;
  int votes = 0;
  std::vector<double> shown_chosen, shown_rejected;  // by the response that was shown first
  void add(bool chosen_first, double vote) {
    sum += vote;
    ++votes;
    (chosen_first ? shown_chosen : shown_rejected).push_back(vote);
  }
  double mean() const { return sum / votes; }
};

// "3 votes: 2 for the first, 0 for the second, 1 ties, 0 abstentions", as judges/rubric writes it.
void add_repeats(const std::string& detail, ComparisonStatistics& judge) {
  long votes = 0, first = 0, second = 0, ties = 0;
  if (std::sscanf(detail.c_str(), "%ld votes: %ld for the first, %ld for the second, %ld ties",
                  &votes, &first, &second, &ties) != 4)
    return;
  const long readable = first + second + ties;
  if (readable < 2) return;
  ++judge.repeated;
  judge.majority +=
      static_cast<double>(std::max({first, second, ties})) / static_cast<double>(readable);
}

}  // namespace

void add_comparisons(const std::filesystem::path& decisions, const Families& families,
                     std::map<std::string, ComparisonStatistics>& judges) {
  for_each_line(decisions, [&](std::size_t, const element& line) {
    simdjson::dom::array verdicts;
    if (line["detail"]["verdicts"].get(verdicts)) return;
    element responses;
    const bool known = !line["responses"].get(responses);
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
      if (better.empty()) {
        ++judge.failed[status.empty() ? "invalid" : status];
        continue;
      }
      const bool chosen_first = text_of(one, "shown_first") == "chosen";
      const double vote = better == "tie" ? 0.5 : better == "chosen" ? 1 : 0;
      opinions[name].add(chosen_first, vote);
      add_repeats(text_of(one, "detail"), judge);
      if (vote == 0.5) {
        ++judge.ties;
        continue;
      }
      judge.first_ahead += (vote == 1) == chosen_first;
      if (lengths[0] == lengths[1]) continue;
      ++judge.unequal;
      judge.longer_ahead += (vote == 1) == (lengths[0] > lengths[1]);
    }
    for (const auto& [name, opinion] : opinions) {
      ComparisonStatistics& judge = judges[name];
      const std::size_t both = std::min(opinion.shown_chosen.size(), opinion.shown_rejected.size());
      for (std::size_t i = 0; i < both; ++i) {
        const double one = opinion.shown_chosen[i], two = opinion.shown_rejected[i];
        ++judge.both_orders;
        judge.same += one == two;
        judge.by_place += one != two && one != 0.5 && two != 0.5;
      }
      const std::string own = families.of_judge(name);
      if (own.empty() || writers[0].empty() || writers[1].empty()) continue;
      const bool chosen_own = families.of_writer(writers[0]) == own;
      if (chosen_own == (families.of_writer(writers[1]) == own)) continue;
      ++judge.own_pairs;
      judge.own_ahead += chosen_own ? opinion.mean() : 1 - opinion.mean();
      for (const auto& [other, theirs] : opinions) {
        if (other == name || families.of_judge(other) == own) continue;
        ++judge.others_votes;
        judge.others_ahead += chosen_own ? theirs.mean() : 1 - theirs.mean();
      }
    }
  });
}

}  // namespace dt2it::report
