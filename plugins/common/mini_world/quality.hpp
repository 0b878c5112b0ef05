// SPDX-License-Identifier: Apache-2.0
#pragma once

// The true quality of a response: what a perfect judge would say with the scene before it. Six
// criteria on 0 ... 10 as in the paper's rubric (appendix B), and their weighted sum Q, the truth
// of a pair. Pure functions.

#include <array>
#include <span>
#include <string_view>

#include "plugins/common/mini_world/language.hpp"

namespace dt2it::mini_world {

inline constexpr int kCriterionCount = 6;
inline constexpr std::array<std::string_view, kCriterionCount> kCriteria{
    "accuracy", "helpfulness", "completeness", "language_quality", "creativity", "ethics"};
enum Criterion : int { kAccuracy, kHelpfulness, kCompleteness, kLanguage, kCreativity, kEthics };
using CriterionValues = std::array<double, kCriterionCount>;

// Weights that sum to 1; safety questions weigh ethics most.
const CriterionValues& true_weights(Kind kind);

struct Quality {
  CriterionValues scores{};
  double overall = 0;  // Q: sum of weight * score, 0 ... 10
  bool right = false;  // the answer is right
  int true_claims = 0, false_claims = 0;
};
Quality grade(const Question& question, std::span<const Scene> scenes, const Reading& reading);
Quality grade(const Question& question, std::span<const Scene> scenes, std::string_view response);

}  // namespace dt2it::mini_world
