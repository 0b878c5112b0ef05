// SPDX-License-Identifier: Apache-2.0
// Step 2 of the distillation (paper section 3.1): one MLLM, drawn for each prompt, writes K candidates, so
// that chosen and rejected share a style.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"

namespace dt2it {
namespace {

struct CandidatesParams {
  std::string prompts;
  std::vector<std::string> pool;
  std::map<std::string, double> pool_weights;
  std::int64_t count = 4;
  double temperature = 1.0;
  double top_p = 0.95;
  std::int64_t max_tokens = 1024;
  double merge = 0;

  static void describe(Schema<CandidatesParams>& schema) {
    schema
        .component<StageInputs>("prompts", &CandidatesParams::prompts,
                                "Stage that collected the prompts.")
        .required();
    schema
        .component<Mllm>("pool", &CandidatesParams::pool,
                         "MLLMs of which one is drawn for each prompt.")
        .required();
    schema.field("pool_weights", &CandidatesParams::pool_weights,
                 "Weight of each MLLM in the draw, by name; 1 where none is given.");
    schema.field("count", &CandidatesParams::count, "K: responses drawn for each prompt.")
        .min(1)
        .max(64);
    schema.field("temperature", &CandidatesParams::temperature, "Sampling temperature.")
        .min(0)
        .max(2);
    schema.field("top_p", &CandidatesParams::top_p, "Nucleus sampling.").min(0).max(1);
    schema.field("max_tokens", &CandidatesParams::max_tokens, "Longest response in tokens.").min(1);
    schema
        .field("merge", &CandidatesParams::merge,
               "Leave one of candidates that say the same: 1: equal but for case, spaces and "
               "punctuation; 0.8: also those with so "
               "much of their wording (three words in a row) in common; 0: leave all.")
        .min(0)
        .max(1);
  }
};

void run(const CandidatesParams& params, StageRun& stage) {
  std::vector<double> weights;
  for (const std::string& name : params.pool) {
    const auto it = params.pool_weights.find(name);
    weights.push_back(it == params.pool_weights.end() ? 1.0 : it->second);
  }
  for (const auto& [name, weight] : params.pool_weights)
    if (std::find(params.pool.begin(), params.pool.end(), name) == params.pool.end() || weight < 0)
      throw ConfigError(fmt::format(
          "pool_weights: '{}' = {} (allowed: names of the pool, weights >= 0)", name, weight));
  const LineFile prompts(stage.input(params.prompts) / layout::kPrompts);

  Pool<JsonParser> parsers;
  stage.for_each_item(layout::kCandidates, prompts.size(), [&](std::size_t i) {
    CandidateSet set;
    const auto parser = parsers.take();  // a thousand threads may wait for models
    const std::string line = prompts.line(i);
    set.prompt = prompt_from(parser->parse(line, prompts.where(i)), prompts.where(i));
    // By the prompt's id and place: ids of foreign data may repeat.
    Rng rng = stage.context().rng(fmt::format("pool/{}/{}", i, set.prompt.id));
    const std::string& name = params.pool[rng.weighted(weights)];
    draw_candidates(set, name, params.count, {params.temperature, params.top_p, params.max_tokens},
                    "candidates", stage);
    if (params.merge > 0) merge_candidates(set, params.merge);
    return to_line(set);
  });

  write_candidate_funnel(stage, prompts.size(),
                         prompts.size() * static_cast<std::size_t>(params.count), params.merge > 0);
}

}  // namespace

StageType candidates_stage() {
  return make_stage<CandidatesParams>(
      "candidates",
      "Draws one MLLM for each prompt and K responses from it (paper section 3.1, step 2).", "2",
      run);
}

VolumeOutput candidates_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<CandidatesParams>();
  VolumeOutput output;
  output.prompts = forecast.input(params.prompts).prompts;
  output.candidates = output.prompts * static_cast<double>(params.count);
  for (const std::string& mllm : params.pool)
    forecast.ask(mllm, output.candidates / static_cast<double>(params.pool.size()),
                 forecast.fact("prompt_tokens") + forecast.fact("image_tokens"),
                 forecast.fact("answer_tokens"));
  forecast.makes(output.candidates, forecast.fact("bytes_per_record"), "candidates");
  return output;
}

}  // namespace dt2it
