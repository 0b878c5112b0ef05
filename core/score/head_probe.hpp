// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
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
// Spread and offset depend on how long a head was trained: they count only beside an order of many pairs, and do not turn
// it round. Of few pairs only an order at its bound counts, and is not sure. What the checkpoint itself says decides.
struct HeadVerdict {
  enum class Input { unknown, final_norm, before_norm };
  Input input = Input::unknown;   // the answer
  Input stated = Input::unknown;  // by the checkpoint
  Input likely = Input::unknown;  // by the evidence: better than 4 to 1
  bool sure = false;              // stated, or better than 20 to 1
  bool disagrees = false;  // with what is stated: an order of many pairs that is hardly chance
  bool few_pairs = false;  // below kEnoughPairs
  bool order_counts = false, scale_counts = false;  // scale: spread and offset
  double log_odds = 0;                              // for final_norm, of what counts
  double order = 0, spread = 0, offset = 0, maker = 0;
  std::size_t same_order = 0;     // pairs that both readings order alike
  std::ptrdiff_t more_right = 0;  // pairs that final_norm gets right beyond those of before_norm
  std::size_t pairs = 0;
};
inline constexpr std::size_t kEnoughPairs = 30;
HeadVerdict judge_readings(std::span<const ProbeRewards> final_norm,
                           std::span<const ProbeRewards> before_norm, double maker = 0,
                           HeadVerdict::Input stated = HeadVerdict::Input::unknown);

const char* to_string(HeadVerdict::Input input);
HeadVerdict::Input head_input_named(std::string_view name);  // unknown for other names

// "final_norm, very likely", "final_norm, as training.json says" and the like; a line more where the pairs disagree.
std::string verdict_text(const HeadVerdict& verdict);

// Questions without pictures, each with a clearly better answer.
std::vector<AnswerRecord> probe_pairs();

}  // namespace dt2it
