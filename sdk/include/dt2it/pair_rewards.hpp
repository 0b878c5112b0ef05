// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rewards of both sides of many pairs by one reward model or by several: for curators.

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/rng.hpp"

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

// What a model is asked about some pairs. Those with a rejected_prompt make two requests, one for
// each prompt. In which order responses are shown does not follow their labels. Points into the
// pairs and itself: neither is moved.
class PairRequests {
 public:
  // `first_row`: what the first pair's position in its file is said to be.
  PairRequests(std::span<const PreferencePair> pairs, std::size_t first_row) {
    static constexpr std::array<std::size_t, 2> kForwards{0, 1}, kBackwards{1, 0};
    responses_.swap(spare());
    responses_.resize(std::max(responses_.size(), pairs.size()));
    requests_.reserve(pairs.size());
    places_.reserve(pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const PreferencePair& pair = pairs[i];
      const bool two_prompts = pair.rejected_prompt.has_value();
      const bool backwards = !two_prompts && (stable_hash(pair.id, stable_hash("order")) & 1) != 0;
      std::array<Response, 2>& two = responses_[i];
      two[0] = backwards ? pair.rejected : pair.chosen;
      two[1] = backwards ? pair.chosen : pair.rejected;
      places_.push_back({requests_.size(), two_prompts, backwards});
      if (two_prompts) {
        const std::span<const Response> both(two);
        requests_.push_back(
            {&pair.prompt, both.first(1), first_row + i, std::span(kForwards).first(1)});
        requests_.push_back(
            {&*pair.rejected_prompt, both.last(1), first_row + i, std::span(kForwards).last(1)});
      } else {
        requests_.push_back({&pair.prompt, two, first_row + i, backwards ? kBackwards : kForwards});
      }
    }
  }
  ~PairRequests() {
    if (responses_.size() <= kMostKept) responses_.swap(spare());
  }
  PairRequests(const PairRequests&) = delete;
  PairRequests& operator=(const PairRequests&) = delete;

  std::span<const RewardRequest> requests() const { return requests_; }

  // What the model answered, one for each pair. Throws PluginError when that is not one reward for
  // each response.
  std::vector<PairRewards> read(const std::vector<std::vector<Reward>>& given) const {
    bool whole = given.size() == requests_.size();
    for (std::size_t r = 0; whole && r < given.size(); ++r)
      whole = given[r].size() == requests_[r].responses.size();
    if (!whole) throw PluginError("the reward model did not give one reward for each response");
    std::vector<PairRewards> all;
    all.reserve(places_.size());
    for (const Place& place : places_) {
      const std::vector<Reward>& first = given[place.request];
      if (place.two_prompts)
        all.push_back({first[0], given[place.request + 1][0]});
      else
        all.push_back({first[place.backwards ? 1 : 0], first[place.backwards ? 0 : 1]});
    }
    return all;
  }

 private:
  struct Place {
    std::size_t request;
    bool two_prompts, backwards;
  };
  // Those of the last one in this thread: batch after batch goes into the same memory.
  static std::vector<std::array<Response, 2>>& spare() {
    thread_local std::vector<std::array<Response, 2>> kept;
    return kept;
  }
  static constexpr std::size_t kMostKept = 1024;

  std::vector<std::array<Response, 2>> responses_;  // of each pair; those behind them are kept only
  std::vector<RewardRequest> requests_;
  std::vector<Place> places_;
};

// The rewards of several models (at least one), [model][pair]. Pairs go through all models batch by
// batch, so that what models share, such as prepared images, is at hand for the next; each model is
// told of its next batch while another one is at work.
inline std::vector<std::vector<PairRewards>> pair_rewards(std::span<RewardModel* const> models,
                                                          std::span<const PreferencePair> pairs,
                                                          std::size_t first_row) {
  std::size_t batch = 1;
  for (const RewardModel* model : models) batch = std::max(batch, model->batch_size());
  std::vector<std::vector<PairRewards>> all(models.size());
  const auto ask = [&](std::size_t begin) {
    return std::make_unique<PairRequests>(
        pairs.subspan(begin, std::min(batch, pairs.size() - begin)), first_row + begin);
  };
  std::unique_ptr<PairRequests> now, next;
  // Announced requests must stay until the model has had them, also when a model throws.
  struct TakeBack {
    std::span<RewardModel* const> models;
    ~TakeBack() {
      for (RewardModel* model : models) model->prepare({});
    }
  } const guard{models};
  for (std::size_t begin = 0; begin < pairs.size(); begin += batch) {
    if (begin == 0) {
      now = ask(0);
      models.front()->prepare(now->requests());
    }
    next = begin + batch < pairs.size() ? ask(begin + batch) : nullptr;
    for (std::size_t m = 0; m < models.size(); ++m) {
      if (m + 1 < models.size())
        models[m + 1]->prepare(now->requests());
      else if (next)
        models.front()->prepare(next->requests());
      for (PairRewards& reward : now->read(models[m]->rewards(now->requests())))
        all[m].push_back(std::move(reward));
    }
    now = std::move(next);
  }
  return all;
}

inline std::vector<PairRewards> pair_rewards(RewardModel& model,
                                             std::span<const PreferencePair> pairs,
                                             std::size_t first_row = 0) {
  RewardModel* const one[] = {&model};
  return std::move(pair_rewards(one, pairs, first_row).front());
}

}  // namespace dt2it
