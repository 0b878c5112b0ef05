// SPDX-License-Identifier: Apache-2.0
#pragma once

// From the logits of one position to the next token, in float32 and in the order of transformers' generate: repetition
// penalty, temperature, top-k, top-p, min-p. Free of LibTorch.

#include <cstdint>
#include <span>
#include <vector>

#include "dt2it/rng.hpp"

namespace dt2it::nn {

struct SamplingSettings {
  double temperature = 1;  // below 1e-6: always the likeliest token
  std::int64_t top_k = 0;  // the k likeliest and all that equal the last of them; 0: all
  double top_p = 1;        // the fewest tokens that together have this probability; 1: all
  double min_p = 0;        // tokens with at least this share of the likeliest one's probability
  double repetition_penalty = 1;  // for tokens that occur in the history; 1: none
};

struct WeightedToken {
  std::int64_t token = 0;
  float probability = 0;
};

// The tokens that may come next, by id; their probabilities sum to 1. Of equal tokens at the border of top_p the ones with
// smaller ids stay. `history`: prompt and answer so far. Throws ModelError where no logit is a finite number, or one is not
// a number.
std::vector<WeightedToken> next_tokens(std::span<const float> logits,
                                       std::span<const std::int64_t> history,
                                       const SamplingSettings& settings);

// Draws from these; takes one number from the stream, none where the temperature is 0.
std::int64_t draw_token(std::span<const float> logits, std::span<const std::int64_t> history,
                        const SamplingSettings& settings, Rng& rng);

}  // namespace dt2it::nn
