// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rewards of both sides of many pairs by one reward model; shared by the curators that look at
// margins.

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

struct PairRewards {
  Reward chosen, rejected;
  // Both are there and finite; only then margin() means something.
  bool ok() const {
    return chosen.ok() && rejected.ok() && std::isfinite(chosen.value) &&
           std::isfinite(rejected.value);
  }
  double margin() const { return chosen.value - rejected.value; }
};

// One per pair, same order. Pairs with a rejected_prompt make two requests, one for each prompt. `first_row`: what the first
// pair's position in its file is said to be.
inline std::vector<PairRewards> pair_rewards(RewardModel& model, std::span<const PreferencePair> pairs,
                                             std::size_t first_row = 0) {
  static constexpr std::array<std::size_t, 2> kIndex{0, 1};
  const std::size_t batch = std::max<std::size_t>(1, model.batch_size());
  std::vector<PairRewards> all(pairs.size());
  for (std::size_t begin = 0; begin < pairs.size(); begin += batch) {
    const std::size_t end = std::min(pairs.size(), begin + batch);
    std::vector<std::array<Response, 2>> responses;  // requests point into it
    responses.reserve(end - begin);
    std::vector<RewardRequest> requests;
    for (std::size_t i = begin; i < end; ++i) {
      const PreferencePair& pair = pairs[i];
      const auto& two = responses.emplace_back(std::array<Response, 2>{pair.chosen, pair.rejected});
      if (pair.rejected_prompt) {
        requests.push_back({&pair.prompt, std::span(two).first(1), first_row + i, std::span(kIndex).first(1)});
        requests.push_back(
            {&*pair.rejected_prompt, std::span(two).last(1), first_row + i, std::span(kIndex).last(1)});
      } else {
        requests.push_back({&pair.prompt, two, first_row + i, kIndex});
      }
    }
    const std::vector<std::vector<Reward>> given = model.rewards(requests);
    bool whole = given.size() == requests.size();
    for (std::size_t r = 0; whole && r < given.size(); ++r)
      whole = given[r].size() == requests[r].responses.size();
    if (!whole) throw PluginError("the reward model did not give one reward for each response");
    std::size_t r = 0;
    for (std::size_t i = begin; i < end; ++i) {
      if (pairs[i].rejected_prompt) {
        all[i] = {given[r][0], given[r + 1][0]};
        r += 2;
      } else {
        all[i] = {given[r][0], given[r][1]};
        r += 1;
      }
    }
  }
  return all;
}

}  // namespace dt2it
