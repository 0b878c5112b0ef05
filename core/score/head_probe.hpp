// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it {

// Which hidden state a reward head was trained on: a checkpoint does not say. Its rewards for a few pairs, read both ways,
// often do.

struct ProbeRewards {
  double chosen = 0;
  double rejected = 0;
  double margin() const { return chosen - rejected; }
};

// What the rewards of pairs look like under one reading.
struct HeadReading {
  std::size_t pairs = 0, correct = 0, ties = 0;
  double mean = 0;       // of all rewards
  double deviation = 0;  // of all rewards, from their mean
  double spread = 0;     // root mean square of the margins
  double saturated =
      0;  // share of pairs with a margin beyond 20, where the training loss has no gradient left
};
HeadReading read_rewards(std::span<const ProbeRewards> rewards);

// Evidence is counted in log-odds (natural logarithm), each kind bounded, since none is beyond doubt:
//   order    pairs that only one reading gets right; the true reading is taken to get four of five of them
//   spread   margins of trained heads are around 2, give or take a factor of three; the states before the norm are of
//            another scale than those after it, and so are the margins of the wrong reading
//   maker    what is known from elsewhere, such as the program that wrote the checkpoint
//   offset   what all answers have in common is larger beside their differences under the wrong reading; weak
struct HeadVerdict {
  enum class Input { unknown, final_norm, before_norm };
  Input input = Input::unknown;
  bool sure = false;    // 20 to 1 or better; otherwise better than 4 to 1 where the input is known
  double log_odds = 0;  // for final_norm
  double order = 0, spread = 0, offset = 0, maker = 0;
  std::size_t same_order = 0;  // pairs that both readings order alike
  std::size_t pairs = 0;
};
HeadVerdict judge_readings(std::span<const ProbeRewards> final_norm,
                           std::span<const ProbeRewards> before_norm, double maker = 0);

// "final_norm, very likely" and the like.
std::string verdict_text(const HeadVerdict& verdict);

// Questions without pictures, each with a clearly better answer.
std::vector<AnswerRecord> probe_pairs();

}  // namespace dt2it
