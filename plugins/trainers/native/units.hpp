// SPDX-License-Identifier: Apache-2.0
#pragma once

// Records as token trees, and what a model makes of them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/nn/reward_head.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/types.hpp"
#include "plugins/trainers/native/params.hpp"

namespace dt2it::native {

// Two responses of one unit, counted over the branches of all its trees.
struct Comparison {
  std::size_t record = 0;
  std::size_t chosen = 0;
  std::size_t rejected = 0;  // next_token: unused
};

// What is encoded and computed together: a pair, or several of one prompt. One tree with all responses, or two where the
// rejected one belongs to another prompt.
struct Unit {
  std::vector<TokenTree> trees;
  std::vector<Comparison> comparisons;
  std::vector<std::size_t> left_out;  // records that cannot be used
  std::size_t cut = 0;                // comparisons that lost text to the length limit
  std::size_t tokens() const;
  std::size_t branches() const;
};

using Complain = std::function<void(const PreferencePair&, const std::string& why)>;

// `members` share their prompt, unless there is one only. Thread-safe. What cannot be encoded goes to left_out and `complain`.
Unit encode_unit(Backbone& backbone, std::span<const PreferencePair> records,
                 std::span<const std::size_t> members, Objective objective,
                 const Complain& complain);

// Units in order, cut into packs of at most `tokens` tokens and `comparisons` comparisons (0: any), at least one unit each.
std::vector<std::span<const Unit* const>> cut_packs(std::span<const Unit* const> units,
                                                    std::size_t tokens, std::size_t comparisons);

// Rewards [branches of all units] for a pack. `drop`: a mask the hidden states are multiplied with; undefined: none.
at::Tensor rewards_of(Backbone& backbone, const nn::RewardHead& head, HiddenState state,
                      std::span<const Unit* const> pack, const at::Tensor& drop);

// Of each branch of a pack: log p(response | prompt) summed over its tokens [branches], and how many tokens these are.
struct SequenceLogProbabilities {
  at::Tensor sums;
  std::vector<std::int64_t> tokens;
  std::int64_t right = 0;  // tokens that were the most likely ones
};
SequenceLogProbabilities sequence_log_probabilities(Backbone& backbone,
                                                    std::span<const Unit* const> pack);

at::Tensor float_tensor(std::span<const float> values);

}  // namespace dt2it::native
