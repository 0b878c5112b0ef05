// SPDX-License-Identifier: Apache-2.0
#include "core/report/judge_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/report/agreement.hpp"
#include "core/report/json_read.hpp"
#include "core/report/repeats.hpp"

namespace dt2it::report {

namespace {

using simdjson::dom::element;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void add_repeats(const std::string& detail, ScorerStatistics& statistics) {
  double n = 0, sum = 0, squares = 0;
  for (const double draw : draws_in(detail)) {
    ++n;
    sum += draw;
    squares += draw * draw;
  }
  if (n < 2) return;
  ++statistics.repeated;
  statistics.spread += std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
}

// Overall scores in candidate order, NaN where there is none.
std::vector<double> read_scores(const element& list, ScorerStatistics& statistics) {
  std::vector<double> result;
  simdjson::dom::array scores;
  if (list.get(scores)) return result;
  for (const element score : scores) {
    std::string status = text_of(score, "status");
    const double overall = number_of(score, "overall", kNone);
    if (status.empty()) status = std::isnan(overall) ? "invalid" : "ok";
    if (status != "ok" || std::isnan(overall)) {
      ++statistics.failed[status == "ok" ? "invalid" : status];
      result.push_back(kNone);
      continue;
    }
    ++statistics.scored;
    add_repeats(text_of(score, "detail"), statistics);
    statistics.sum += overall;
    const int bin = static_cast<int>(overall / 10 * ScorerStatistics::kBins);
    ++statistics
          .histogram[static_cast<std::size_t>(std::clamp(bin, 0, ScorerStatistics::kBins - 1))];
    result.push_back(overall);
  }
  return result;
}

void add_couples(const element& set, const std::vector<double>& scores,
                 ScorerStatistics& statistics) {
  simdjson::dom::array candidates;
  if (set["candidates"].get(candidates)) return;
  std::vector<std::size_t> lengths;
  for (const element candidate : candidates) {
    const std::size_t k = lengths.size();
    lengths.push_back(text_of(candidate, "text").size());
    if (k >= scores.size() || std::isnan(scores[k])) continue;
    auto& [count, sum] = statistics.writers[text_of(candidate, "mllm")];
    ++count;
    sum += scores[k];
  }
  const std::size_t n = std::min(scores.size(), lengths.size());
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = a + 1; b < n; ++b) {
      if (std::isnan(scores[a]) || std::isnan(scores[b])) continue;
      ++statistics.couples;
      if (scores[a] == scores[b]) {
        ++statistics.ties;
      } else if (lengths[a] != lengths[b]) {
        ++statistics.unequal;
        statistics.longer_ahead += (lengths[a] > lengths[b]) == (scores[a] > scores[b]);
      }
    }
}

void add_places(const element& set, const std::vector<double>& scores,
                ScorerStatistics& statistics) {
  double sum = 0;
  int count = 0;
  for (double score : scores)
    if (!std::isnan(score)) {
      sum += score;
      ++count;
    }
  simdjson::dom::array shown;
  if (count < 2 || set["shown"][statistics.name].get(shown)) return;
  std::size_t place = 0;
  for (const element item : shown) {
    std::uint64_t index = 0;
    if (!item.get(index) && index < scores.size() && !std::isnan(scores[index])) {
      if (statistics.places.size() <= place) statistics.places.resize(place + 1);
      ScorerStatistics::Place& at = statistics.places[place];
      ++at.count;
      at.score += scores[index];
      at.deviation += scores[index] - sum / count;
    }
    ++place;
  }
}

void add_agreement(const std::vector<double>& one, const std::vector<double>& two,
                   ScorerAgreement& agreement, PairedMoments& moments) {
  const std::size_t n = std::min(one.size(), two.size());
  for (std::size_t a = 0; a < n; ++a) {
    if (std::isnan(one[a]) || std::isnan(two[a])) continue;
    moments.add(one[a], two[a]);
    for (std::size_t b = a + 1; b < n; ++b) {
      if (std::isnan(one[b]) || std::isnan(two[b])) continue;
      const double first = one[a] - one[b], second = two[a] - two[b];
      if (first == 0)
        ++agreement.tie_first;
      else if (second == 0)
        ++agreement.tie_second;
      else if ((first > 0) == (second > 0))
        ++agreement.agree;
      else
        ++agreement.opposed;
    }
  }
}

}  // namespace

JudgeStatistics judge_statistics(const std::filesystem::path& candidates) {
  JudgeStatistics result;
  std::map<std::string, ScorerStatistics> scorers;
  std::map<std::pair<std::string, std::string>, std::pair<ScorerAgreement, PairedMoments>>
      agreements;
  for_each_line(candidates, [&](std::size_t, const element& set) {
    ++result.prompts;
    simdjson::dom::object by_scorer;
    if (set["scores"].get(by_scorer)) return;
    std::map<std::string, std::vector<double>> scores;
    for (const auto& [key, list] : by_scorer) {
      const std::string name(key);
      ScorerStatistics& statistics = scorers[name];
      statistics.name = name;
      scores[name] = read_scores(list, statistics);
      add_places(set, scores[name], statistics);
      add_couples(set, scores[name], statistics);
    }
    for (auto one = scores.begin(); one != scores.end(); ++one)
      for (auto two = std::next(one); two != scores.end(); ++two) {
        auto& [agreement, moments] = agreements[{one->first, two->first}];
        add_agreement(one->second, two->second, agreement, moments);
      }
  });
  for (auto& [name, statistics] : scorers) result.scorers.push_back(std::move(statistics));
  for (auto& [names, value] : agreements) {
    auto& [agreement, moments] = value;
    agreement.first = names.first;
    agreement.second = names.second;
    agreement.correlation = moments.correlation().value_or(0);
    agreement.candidates = moments.pairs;
    result.agreements.push_back(std::move(agreement));
  }
  return result;
}

}  // namespace dt2it::report
