// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a simulated author comes to a statement. Shared by mllms/simulated, which perceives pixels,
// and datasets/mini_world, which makes the responses of its open sets itself. Pure functions.

#include <array>
#include <span>

#include "dt2it/rng.hpp"
#include "plugins/common/mini_world/language.hpp"

namespace dt2it::mini_world {

struct Author {
  double ability = 0;  // about -1 weak, 0 middling, 2.5 nearly always right
  Style style = Style::plain;
  std::array<double, 3> claims{.35, .4, .25};  // probability of 0, 1, 2 extra claims
  double garble = .08;                         // probability of a stutter
};

// Spread of the difficulty of single questions, on the scale of ability.
inline constexpr double kDifficultyDeviation = 1.6;
// P(right) = sigmoid(2.5 (ability - hardness - difficulty)).
double probability_right(double ability, Kind kind, double difficulty);
// Probability that an extra claim is invented; falls with ability.
double probability_false_claim(double ability, double difficulty);

// A right or a wrong statement with `claims` extra claims, each invented with `false_claim`.
Statement compose(const Question& question, std::span<const Scene> scenes, bool right, int claims,
                  double false_claim, bool garbled, Rng& rng);

// What the author says of the scenes as perceived. With a reference answer (`reference`, a value as
// in questions.hpp, or empty when it cannot be read) it follows it 97 % of the time.
Statement respond(const Author& author, const Question& question, std::span<const Scene> scenes,
                  double difficulty, const std::optional<Reading>& reference, Rng& rng);

}  // namespace dt2it::mini_world
