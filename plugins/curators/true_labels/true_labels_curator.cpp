// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/true_labels/true_labels_curator.hpp"

#include <fmt/format.h>

#include <cmath>

#include "plugins/common/mini_world/quality.hpp"
#include "plugins/common/mini_world/truth.hpp"

namespace dt2it::mini_world {
namespace {

using Action = Decision::Action;

Decision decision(Action action, std::string reason, std::string detail = {}) {
  Decision made;
  made.action = action;
  made.settled = action != Action::undecided;
  made.reason = std::move(reason);
  made.detail = std::move(detail);
  return made;
}

std::string question_of(const Prompt& prompt) {
  std::string text;
  if (prompt.messages.empty()) return text;
  for (const Part& part : prompt.messages.back().content)
    if (part.kind == Part::Kind::text) text += part.text + '\n';
  return text;
}

}  // namespace

void TrueLabelsCurator::Params::describe(Schema<Params>& schema) {
  schema.field(
      "by_alignment", &Params::by_alignment,
      "Text-to-image pairs: go by fidelity to the text alone, without the looks of the images.");
}

TrueLabelsCurator::TrueLabelsCurator(const Params& params, Context&) : params_(params) {}

Decision TrueLabelsCurator::decide(const PreferencePair& pair) const {
  // Pairs made of a text-to-image preference carry the truth about that preference, whatever their
  // form.
  auto truth = read_truth(pair.extra);
  if (!truth || truth->preferred.empty()) truth = read_truth(pair.prompt.extra);
  if (!truth) return decision(Action::undecided, "the pair has no truth of the mini world");
  if (!truth->preferred.empty()) {
    const std::string& real =
        params_.by_alignment && !truth->aligned.empty() ? truth->aligned : truth->preferred;
    if (real == "better")
      return decision(Action::keep, "the preferred image is really the better one");
    if (real == "worse")
      return decision(Action::flip, "the preferred image is really the worse one");
    if (real == "tie") return decision(Action::discard, "the two images are equally good");
    return decision(Action::undecided, "the truth about the preference reads '" + real + "'");
  }
  if (pair.rejected_prompt)
    return decision(Action::undecided,
                    "the responses belong to different prompts, whose truth is not recorded");
  const auto question = parse_question(question_of(pair.prompt));
  if (!question) return decision(Action::undecided, "the question is not one of the mini world");

  const double chosen = grade(*question, truth->scenes, pair.chosen.text).overall;
  const double rejected = grade(*question, truth->scenes, pair.rejected.text).overall;
  const double difference = chosen - rejected;
  const std::string figures = fmt::format("true quality {:.3f} against {:.3f}", chosen, rejected);
  const std::string detail =
      fmt::format("{{\"true_chosen\":{:.6f},\"true_rejected\":{:.6f}}}", chosen, rejected);
  // Equal sums may differ in the last bits.
  if (std::abs(difference) < 1e-9) return decision(Action::discard, "tie: " + figures, detail);
  return decision(difference > 0 ? Action::keep : Action::flip, figures, detail);
}

std::vector<Decision> TrueLabelsCurator::review(std::span<const PreferencePair> pairs) {
  std::vector<Decision> decisions;
  decisions.reserve(pairs.size());
  for (const PreferencePair& pair : pairs) decisions.push_back(decide(pair));
  return decisions;
}

}  // namespace dt2it::mini_world
