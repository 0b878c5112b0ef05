// SPDX-License-Identifier: Apache-2.0
#pragma once

// Generative judges on benchmarks: who gives verdicts, and who counts them. Both are second interfaces of components that are
// reward models and benchmarks anyway; the host finds them by dynamic_cast.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/export.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// A verdict and the order in which the two responses of its request were shown for it.
struct ShownVerdict {
  std::array<std::size_t, 2> shown{
      0, 1};         // which of the request's responses stood first, which second
  std::string form;  // see JudgedSample below
  Verdict verdict;
};

// What a reward model is as well, when it says which of two responses is better rather than how good each is: generative
// judges, and files of their verdicts. Where the host finds this interface on a reward model it asks here and keeps every
// verdict; rewards() of such a model are shares of votes, for those who want numbers. Called from one thread at a time.
class DT2IT_API VerdictModel {
 public:
  virtual ~VerdictModel() = default;

  // False: as it is configured this model gives rewards only.
  virtual bool gives_verdicts() const { return true; }

  // All verdicts about each request, as they were drawn; a request has two responses. The rules of RewardRequest hold: only a
  // model that looks verdicts up may read row and original_index.
  virtual std::vector<std::vector<ShownVerdict>> verdicts(
      std::span<const RewardRequest> requests) = 0;
};

// One answer of a generative judge about an item.
struct JudgedSample {
  bool chosen_first = false;  // in which order the two responses were shown
  std::string
      form;  // how a verdict was asked for: "answers" ("Answer 1 is better"), "brackets" ("[[A]]"), else
             // a form of the judge's own, of which only what was read counts
  Verdict verdict;  // of the order shown; `reply` is the raw text
};

// All answers about an item, and what conventions need to know of it. Holds the label: never shown to a model.
struct JudgedItem {
  std::size_t row = 0;
  std::string id, group;
  std::string media;  // its first image or video, as the record names it
  std::string
      key;  // of id, question and the two responses in any order: equal for rows that are equal in these
  std::size_t length = 0;             // characters (code points) of both responses
  std::string extra;                  // of the pair
  std::vector<JudgedSample> samples;  // as they were drawn
};

// Judged strictly: a vote for each sample, and what could not be read speaks for the wrong side. Equal votes are a tie. An item
// of which nothing could be read has the status of its first sample.
inline Outcome strict_outcome(const JudgedItem& item) {
  Outcome outcome{item.row, item.id, item.group, Status::unavailable, 0, 0};
  bool read = false;
  double chosen = 0, rejected = 0;
  for (const JudgedSample& sample : item.samples) {
    const Verdict& verdict = sample.verdict;
    if (!verdict.ok()) {
      rejected += 1;
      continue;
    }
    read = true;
    const double first = verdict.winner == Verdict::Winner::first ? 1
                         : verdict.winner == Verdict::Winner::tie ? 0.5
                                                                  : 0;
    chosen += sample.chosen_first ? first : 1 - first;
    rejected += sample.chosen_first ? 1 - first : first;
  }
  if (!read) {
    if (!item.samples.empty()) outcome.status = item.samples.front().verdict.status;
    return outcome;
  }
  const auto count = static_cast<double>(item.samples.size());
  outcome.status = Status::ok;
  outcome.chosen_reward = chosen / count;
  outcome.rejected_reward = rejected / count;
  return outcome;
}

// What a benchmark is as well, when there are published scripts that count verdicts on it. Every benchmark can be counted by
// "strict": summarise() of strict outcomes.
class DT2IT_API VerdictBenchmark {
 public:
  virtual ~VerdictBenchmark() = default;

  // The ways of counting beside "strict", the suite's own first.
  virtual std::vector<std::string> conventions() const = 0;

  // The metrics by one of them; the headline first. All items, in the order of items().
  virtual std::vector<Metric> summarise_verdicts(std::span<const JudgedItem> items,
                                                 std::string_view convention) = 0;
};

}  // namespace dt2it
