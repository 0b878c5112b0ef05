// SPDX-License-Identifier: Apache-2.0
// Step 4 of the distillation (paper section 3.1): more candidates where those at hand are all alike.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/diversity_strategy.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {
namespace {

struct DiversifyParams {
  std::string candidates;
  std::string strategy;
  std::string scorer;
  std::vector<std::string> pool;

  static void describe(Schema<DiversifyParams>& schema) {
    schema
        .component<StageInputs>("candidates", &DiversifyParams::candidates,
                                "Stage with scored candidates.")
        .required();
    schema.component<DiversityStrategy>("strategy", &DiversifyParams::strategy, "Strategy to ask.")
        .required();
    schema.component<Scorer>("scorer", &DiversifyParams::scorer, "Scorer whose scores decide.")
        .required();
    schema
        .component<Mllm>(
            "pool", &DiversifyParams::pool,
            "MLLMs that wrote the candidates: the strategy may ask the same one again.")
        .required();
  }
};

// Numbers go on; merged candidates have left gaps.
std::string free_id(const CandidateSet& set) {
  for (std::size_t number = set.candidates.size();; ++number) {
    std::string id = fmt::format("{}", number);
    if (std::ranges::none_of(set.candidates, [&](const Response& one) { return one.id == id; }))
      return id;
  }
}

void run(const DiversifyParams& params, StageRun& stage) {
  const CandidateFile sets(stage.input(params.candidates) / layout::kCandidates);
  stage.for_each_item(layout::kCandidates, sets.size(), [&](std::size_t i) {
    CandidateSet set = sets.read(i);
    require_scores(set, params.scorer);
    const auto strategy = stage.context().component<DiversityStrategy>(params.strategy);
    std::vector<Response> added =
        strategy->extend(without_extra(set.prompt), set.candidates, set.scores.at(params.scorer));
    for (Response& response : added) {
      response.id = free_id(set);
      set.candidates.push_back(std::move(response));
    }
    return to_line(set);
  });

  std::map<std::string, std::size_t> added;
  std::map<std::string, std::size_t> failed;
  std::size_t extended = 0;
  const CandidateFile results(stage.output / layout::kCandidates);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const CandidateSet set = results.read(i);
    bool any = false;
    for (const Response& response : set.candidates) {
      if (response.origin == "sampled") continue;
      any = true;
      if (response.status == Status::ok)
        ++added[response.origin];
      else
        ++failed[fmt::format("{}: {}", response.mllm, to_string(response.status))];
    }
    extended += any;
  }
  Funnel funnel;
  funnel.step("prompts", sets.size());
  funnel.step("prompts with added candidates", extended);
  for (const auto& [origin, count] : added) funnel.step("added: " + origin, count);
  for (const auto& [reason, count] : failed) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType diversify_stage() {
  return make_stage<DiversifyParams>(
      "diversify", "Adds candidates where all are good or all are bad (paper section 3.1, step 4).",
      "1", run);
}

VolumeOutput diversify_volume(VolumeForecast& forecast) {
  VolumeOutput output = forecast.input(forecast.params<DiversifyParams>().candidates);
  const double added = output.prompts * forecast.fact("diversified_share");
  const std::vector<std::string> writers = forecast.components(Mllm::kKind);
  for (const std::string& mllm : writers)
    forecast.ask(mllm, added / static_cast<double>(writers.size()),
                 2 * forecast.fact("prompt_tokens") + forecast.fact("image_tokens"),
                 forecast.fact("answer_tokens"));
  output.candidates += added;
  output.diversified = true;
  for (auto& [scorer, prompts] : output.scored) prompts -= added;
  forecast.makes(output.candidates, forecast.fact("bytes_per_record"), "candidates");
  return output;
}

}  // namespace dt2it
