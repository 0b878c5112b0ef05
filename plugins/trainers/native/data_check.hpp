// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is wrong with preference data before a model sees it. No LibTorch.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it::native {

struct DataCheck {
  std::size_t pairs = 0;
  std::size_t identical = 0;      // both responses have the same text, for the same prompt
  std::size_t ties = 0;           // a preference strength of 0
  std::size_t duplicates = 0;     // prompt, chosen and rejected as in a pair before
  std::size_t contradictory = 0;  // chosen and rejected the other way round as in a pair before
  std::size_t longer_chosen = 0, longer_rejected = 0;  // in bytes
  std::size_t looked_at = 0;  // of which the following are counted: an even sample
  std::size_t unusable = 0;   // an image is missing or broken, or the prompt does not fit
  std::size_t truncated = 0;  // text is lost to the length limit

  // Accuracy of "the longer response is better"; 0.5 without pairs of unequal length.
  double longer_wins() const;
  // One line a finding; empty: nothing to say.
  std::vector<std::string> findings() const;
  std::string json() const;
};

enum class Fit { whole, cut, unusable };

// `fit` says how a pair fits the model; it is asked about at most `sample` of them. Identical pairs with two prompts
// (Omni-Reward's form) are no finding.
DataCheck check_data(std::span<const PreferencePair> records, std::size_t sample,
                     const std::function<Fit(std::size_t)>& fit);

}  // namespace dt2it::native
