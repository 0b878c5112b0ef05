// SPDX-License-Identifier: Apache-2.0
// Steps 3 and 5 of the distillation (paper section 3.1): a scorer gives every candidate a score.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/planned_pairs.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/error.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {
namespace {

struct ScoreParams {
  std::string candidates;
  std::string scorer;

  static void describe(Schema<ScoreParams>& schema) {
    schema
        .component<StageInputs>("candidates", &ScoreParams::candidates,
                                "Stage whose candidates are scored.")
        .required();
    schema.component<Scorer>("scorer", &ScoreParams::scorer, "Scorer to ask.").required();
  }
};

// Only candidates that are answers are shown to the judge; the others keep their own status.
void score(CandidateSet& set, std::size_t row, const std::string& name, StageRun& stage) {
  std::vector<std::size_t> order;
  for (std::size_t k = 0; k < set.candidates.size(); ++k)
    if (set.candidates[k].status == Status::ok) order.push_back(k);
  // In an order drawn for each prompt and kept in `shown`: a judge with a position bias would otherwise hold it against
  // whatever tends to come last, such as added candidates. The same for every scorer.
  stage.context().rng(fmt::format("order/{}/{}", row, set.prompt.id)).shuffle(order);

  std::vector<Response> shown;
  for (const std::size_t k : order) shown.push_back(set.candidates[k]);
  std::vector<Score> scores(set.candidates.size());
  for (std::size_t k = 0; k < set.candidates.size(); ++k) {
    scores[k].status = set.candidates[k].status;
    scores[k].detail = "there is no answer to score";
  }
  if (!shown.empty()) {
    const auto scorer = stage.context().component<Scorer>(name);
    const std::vector<Score> given = scorer->score(without_extra(set.prompt), shown);
    if (given.size() != shown.size())
      throw PluginError(fmt::format("scorer '{}' gave {} scores for {} candidates", name,
                                    given.size(), shown.size()));
    for (std::size_t i = 0; i < order.size(); ++i) scores[order[i]] = given[i];
  }
  set.scores[name] = std::move(scores);
  set.shown[name] = std::move(order);
}

void run(const ScoreParams& params, StageRun& stage) {
  const CandidateFile sets(stage.input(params.candidates) / layout::kCandidates);
  stage.for_each_item(layout::kCandidates, sets.size(), [&](std::size_t i) {
    CandidateSet set = sets.read(i);
    if (!set.scored_by(params.scorer)) score(set, i, params.scorer, stage);
    return to_line(set);
  });

  std::size_t good = 0;
  std::size_t asked = 0;
  std::map<std::string, std::size_t> failed;
  const CandidateFile scored(stage.output / layout::kCandidates);
  for (std::size_t i = 0; i < scored.size(); ++i) {
    if (sets.read(i).scored_by(params.scorer)) continue;
    const CandidateSet set = scored.read(i);
    for (const Score& score : set.scores.at(params.scorer)) {
      ++asked;
      if (score.ok())
        ++good;
      else
        ++failed[std::string(to_string(score.status))];
    }
  }
  Funnel funnel;
  funnel.step("candidates to score", asked);
  funnel.step("scored " + params.scorer, good);
  for (const auto& [reason, count] : failed) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType score_stage() {
  return make_stage<ScoreParams>("score",
                                 "Scores candidates (paper section 3.1, steps 3 and 5). Sets that "
                                 "this scorer has scored whole are "
                                 "left as they are; a set to which candidates were added is scored "
                                 "again. Candidates are shown in random order.",
                                 "3", run);
}

VolumeOutput score_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<ScoreParams>();
  VolumeOutput output = forecast.input(params.candidates);
  const ComponentConfig* scorer = forecast.component(Scorer::kKind, params.scorer);
  const double todo = output.prompts - output.scored[params.scorer],
               each = output.prompts > 0 ? output.candidates / output.prompts : 0;
  const std::string mllm =
      scorer ? forecast.mllm_of_judge(text_of(scorer->params, "judge")) : std::string();
  const double answer = forecast.fact("answer_tokens"),
               judgement = forecast.fact("judgement_tokens"),
               fixed = forecast.fact("rubric_tokens") + 2 * forecast.fact("prompt_tokens") +
                       forecast.fact("image_tokens");
  if (scorer && scorer->type == "pointwise")
    forecast.ask(mllm, todo * each, fixed + answer, judgement);
  else
    forecast.ask(mllm, todo, fixed + each * answer, each * judgement);
  output.scored[params.scorer] = output.prompts;
  forecast.makes(output.candidates, forecast.fact("bytes_per_record"), "scores");
  return output;
}

}  // namespace dt2it
