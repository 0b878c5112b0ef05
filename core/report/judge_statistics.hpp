// SPDX-License-Identifier: Apache-2.0
#pragma once

// How the judge scored: distributions, position bias, agreement of the scorers (paper section 3.1,
// where pointwise scores are brought in against the position bias of listwise ones).

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dt2it::report {

struct ScorerStatistics {
  static constexpr int kBins = 20;  // of half a point: 0 ... 10; the last one holds 10 too
  std::string name;
  std::array<std::int64_t, kBins> histogram{};
  std::int64_t scored = 0;
  double sum = 0;
  std::map<std::string, std::int64_t> failed;  // by status
  // By the place in the list that the judge saw, over prompts with at least two scored candidates:
  // the score less the mean score of its prompt, so that prompts of different difficulty can be put
  // together.
  struct Place {
    std::int64_t count = 0;
    double score = 0, deviation = 0;  // sums
  };
  std::vector<Place> places;
  // Couples of scored candidates of one prompt: ties among all, and how often the longer one is ahead among those
  // of different length and score (0.5: length does not matter).
  std::int64_t couples = 0, ties = 0, unequal = 0, longer_ahead = 0;
  // Where the judge was asked repeatedly: scores, and the sum of their standard deviations over the draws.
  std::int64_t repeated = 0;
  double spread = 0;
  // By the MLLM that wrote the candidate: what a judge thinks of its own family, beside others.
  std::map<std::string, std::pair<std::int64_t, double>> writers;  // count, sum

  std::int64_t asked() const {
    std::int64_t all = scored;
    for (const auto& [status, count] : failed) all += count;
    return all;
  }
};

// Two scorers on all couples of candidates of one prompt that both have scored.
struct ScorerAgreement {
  std::string first, second;
  std::int64_t agree = 0, opposed = 0, tie_first = 0,
               tie_second = 0;  // a tie of both counts as tie_first
  double correlation = 0;       // Pearson, over candidates
  std::int64_t candidates = 0;
};

struct JudgeStatistics {
  std::int64_t prompts = 0;
  std::vector<ScorerStatistics> scorers;
  std::vector<ScorerAgreement> agreements;
};

// From a candidates.jsonl; empty when there is none.
JudgeStatistics judge_statistics(const std::filesystem::path& candidates);

}  // namespace dt2it::report
