// SPDX-License-Identifier: Apache-2.0
#include "core/nn/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr double kGreedyBelow = 1e-6;
constexpr float kNever = -std::numeric_limits<float>::infinity();

// Logit, later probability, of a token. Likelier first, of equals the smaller id: a strict order, so that nothing depends
// on the way of sorting.
bool likelier(const WeightedToken& a, const WeightedToken& b) {
  return a.probability > b.probability || (a.probability == b.probability && a.token < b.token);
}

std::vector<float> penalised(std::span<const float> logits, std::span<const std::int64_t> history,
                             double penalty) {
  std::vector<float> scores(logits.begin(), logits.end());
  if (penalty == 1) return scores;
  const auto factor = static_cast<float>(penalty);
  // From the logits, not the scores: a token that occurs twice is punished once.
  for (const std::int64_t token : history) {
    const auto at = static_cast<std::size_t>(token);
    if (at < scores.size()) scores[at] = logits[at] < 0 ? logits[at] * factor : logits[at] / factor;
  }
  return scores;
}

std::size_t likeliest(std::span<const float> scores) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) throw ModelError("the model gave a logit that is not a number");
    if (scores[i] > scores[best]) best = i;
  }
  if (scores.empty() || !std::isfinite(scores[best]))
    throw ModelError("the model gave no finite logit");
  return best;
}

// Logits to probabilities.
void normalise(std::vector<WeightedToken>& tokens) {
  float most = kNever;
  for (const WeightedToken& token : tokens) most = std::max(most, token.probability);
  double sum = 0;
  for (WeightedToken& token : tokens) {
    token.probability = std::exp(token.probability - most);
    sum += token.probability;
  }
  for (WeightedToken& token : tokens)
    token.probability = static_cast<float>(token.probability / sum);
}

// Leaves out the unlikeliest tokens whose probabilities together are at most 1 - top_p. Few tokens usually hold most of
// the probability, so only so many are sorted as matter.
void keep_top_p(std::vector<WeightedToken>& tokens, double top_p) {
  const auto spare = static_cast<float>(1 - top_p);
  double tail = 0;  // of the tokens behind `head`
  std::size_t head = 64;
  for (;; head *= 8) {
    head = std::min(head, tokens.size());
    std::nth_element(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(head - 1),
                     tokens.end(), likelier);
    tail = 0;
    for (std::size_t i = head; i < tokens.size(); ++i) tail += tokens[i].probability;
    if (head == tokens.size() || static_cast<float>(tail) <= spare) break;
  }
  tokens.resize(head);
  std::sort(tokens.begin(), tokens.end(), likelier);
  while (tokens.size() > 1) {
    tail += tokens.back().probability;
    if (static_cast<float>(tail) > spare) break;
    tokens.pop_back();
  }
}

}  // namespace

std::vector<WeightedToken> next_tokens(std::span<const float> logits,
                                       std::span<const std::int64_t> history,
                                       const SamplingSettings& settings) {
  std::vector<float> scores = penalised(logits, history, settings.repetition_penalty);
  const std::size_t best = likeliest(scores);
  if (settings.temperature < kGreedyBelow) return {{static_cast<std::int64_t>(best), 1}};
  const auto temperature = static_cast<float>(settings.temperature);
  for (float& score : scores) score /= temperature;

  float lowest = kNever;
  if (const auto k = static_cast<std::size_t>(settings.top_k); k > 0 && k < scores.size()) {
    std::vector<float> ordered = scores;
    std::nth_element(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(k - 1),
                     ordered.end(), std::greater<>());
    lowest = ordered[k - 1];
  }
  std::vector<WeightedToken> tokens;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] >= lowest && scores[i] > kNever)
      tokens.push_back({static_cast<std::int64_t>(i), scores[i]});
  normalise(tokens);
  double kept = 1;
  if (settings.top_p < 1) keep_top_p(tokens, settings.top_p);
  if (settings.min_p > 0) {
    // Relative to the likeliest token, so it does not matter that what top_p left sums to less than 1.
    const float least = static_cast<float>(settings.min_p) *
                        std::max_element(tokens.begin(), tokens.end(), [](auto& a, auto& b) {
                          return a.probability < b.probability;
                        })->probability;
    std::erase_if(tokens, [&](const WeightedToken& token) { return token.probability < least; });
  }
  if (settings.top_p < 1 || settings.min_p > 0) {
    std::sort(tokens.begin(), tokens.end(),
              [](const auto& a, const auto& b) { return a.token < b.token; });
    kept = 0;
    for (const WeightedToken& token : tokens) kept += token.probability;
  }
  for (WeightedToken& token : tokens)
    token.probability = static_cast<float>(token.probability / kept);
  return tokens;
}

std::int64_t draw_token(std::span<const float> logits, std::span<const std::int64_t> history,
                        const SamplingSettings& settings, Rng& rng) {
  const std::vector<WeightedToken> tokens = next_tokens(logits, history, settings);
  if (settings.temperature < kGreedyBelow) return tokens[0].token;
  double sum = 0;
  for (const WeightedToken& token : tokens) sum += token.probability;
  double left = rng.uniform() * sum;
  for (const WeightedToken& token : tokens)
    if (token.probability > 0 && (left -= token.probability) < 0) return token.token;
  // Rounding only: the last one that has a probability at all.
  return std::find_if(tokens.rbegin(), tokens.rend(),
                      [](const auto& token) { return token.probability > 0; })
      ->token;
}

}  // namespace dt2it::nn
