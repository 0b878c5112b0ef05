// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/score/score_lines.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

// The answers of several data sets one after the other, rows numbered through.
class JoinedAnswers final : public Stream<AnswerRecord> {
 public:
  JoinedAnswers(std::vector<std::shared_ptr<Dataset>> inputs,
                std::function<bool(std::size_t row)> wanted);
  bool next(AnswerRecord& record) override;

 private:
  const std::vector<std::shared_ptr<Dataset>> inputs_;
  const std::function<bool(std::size_t)> wanted_;
  std::size_t at_ = 0;
  std::size_t first_ = 0;  // row of the current data set's first record
  std::size_t seen_ = 0;   // records that it has had, wanted or not
  std::unique_ptr<Stream<AnswerRecord>> stream_;
};

struct ScoringWork {
  std::size_t records = 0, pairs = 0;
  RewardWork work;
  double seconds = 0;  // since the first group was there
};

struct Scoring {
  std::function<void(std::span<const ScoreLine>)> write;  // group after group, in row order
  std::function<void(const AnswerRecord&)> done;          // its media are not needed any more
  std::function<void(const ScoringWork&)> progress;       // after each group
  const std::atomic<bool>* stop = nullptr;                // ends after the group at work
  std::size_t rows_there =
      0;  // that earlier runs have scored: the model is told of them at the end
};

// Gives every record its rewards. Records are read by a thread of its own, ahead of the model; the model sees groups of
// batch_size() records and is told of the next one before it works on one. Pairs are shown in an order that does not
// follow their labels. Throws what reading or the model throws, after what was read before it has been written.
ScoringWork score_answers(Stream<AnswerRecord>& records, RewardModel& model,
                          const Scoring& scoring);

}  // namespace dt2it
