// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/nn/reward_head.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it {

// A pair as trees: one with both responses, or (when the rejected one belongs to another prompt) two.
struct EncodedPair {
  std::vector<TokenTree> trees;
  std::size_t tokens() const {
    std::size_t sum = 0;
    for (const TokenTree& tree : trees) sum += tree.tokens.size();
    return sum;
  }
};

struct BatchLoss {
  at::Tensor loss;  // sum, takes part in autograd
  double right = 0;   // pairs with a positive margin, or tokens that were predicted
  double margin = 0;  // sum
};

// Bradley-Terry (paper section 3.1; Ouyang et al. 2022): -log sigmoid(chosen - rejected), summed over pairs. `drop` is
// a mask that the hidden states are multiplied with, [2 * pairs, hidden]; undefined: none.
BatchLoss bradley_terry(Backbone& backbone, const nn::RewardHead& head, HiddenState state,
                        std::span<const EncodedPair* const> pairs, const at::Tensor& drop);

// Cross entropy of the first tree's first branch given the prompt, summed over tokens.
BatchLoss next_token(Backbone& backbone, std::span<const EncodedPair* const> pairs);
std::int64_t response_tokens(const EncodedPair& pair);

}  // namespace dt2it
