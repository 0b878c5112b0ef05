// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/writer.hpp"

#include <cmath>

namespace dt2it::mini_world {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The value that a reference answer gives, when a statement can take it over.
std::optional<std::string> value_of(const Question& question,
                                    const std::optional<Reading>& reference) {
  if (!reference || !reference->answer) return std::nullopt;
  if ((question.kind == Kind::caption) != reference->phrase.has_value()) return std::nullopt;
  return reference->answer;
}

}  // namespace

double probability_right(double ability, Kind kind, double difficulty) {
  return sigmoid(2.5 * (ability - hardness(kind) - difficulty));
}

double probability_false_claim(double ability, double difficulty) {
  return .5 * (1 - sigmoid(1.3 * (ability - .2 - .5 * difficulty))) + .03;
}

Statement compose(const Question& question, std::span<const Scene> scenes, bool right, int claims,
                  double false_claim_probability, bool garbled, Rng& rng) {
  static const Scene nothing;
  const Scene& scene = scenes.empty() ? nothing : scenes[0];
  Statement statement;
  statement.garbled = garbled;
  if (question.kind == Kind::caption) {
    statement.answer = caption_text({right ? true_claim(scene, rng) : false_claim(scene, rng)});
  } else {
    if (right) statement.answer = right_answer(question, scenes);
    if (statement.answer
            .empty()) {  // wrong on purpose, or the scene as perceived gives no answer: a guess
      const auto wrong = wrong_answers(question, scenes);
      if (!wrong.empty()) statement.answer = wrong[rng.below(wrong.size())];
    }
  }
  if (question.kind == Kind::safety || question.kind == Kind::benign || two_images(question.kind))
    return statement;
  for (int i = 0; i < claims; ++i)
    statement.claims.push_back(rng.chance(false_claim_probability) ? false_claim(scene, rng)
                                                                   : true_claim(scene, rng));
  return statement;
}

Statement respond(const Author& author, const Question& question, std::span<const Scene> scenes,
                  double difficulty, const std::optional<Reading>& reference, Rng& rng) {
  // Every draw is made whether it is needed or not: one change of a parameter then changes one
  // thing.
  const bool knows = rng.chance(probability_right(author.ability, question.kind, difficulty));
  const bool follows = rng.chance(.97);
  const int claims = static_cast<int>(rng.weighted(author.claims));
  const bool garbled = rng.chance(author.garble);
  const auto given = value_of(question, reference);
  const double invented = given ? .04 : probability_false_claim(author.ability, difficulty);
  const bool right = given && follows ? true : knows;
  Statement statement = compose(question, scenes, right, claims, invented, garbled, rng);
  if (given && follows) statement.answer = *given;
  return statement;
}

}  // namespace dt2it::mini_world
