// SPDX-License-Identifier: Apache-2.0
// The five steps of debiased preference distillation (paper section 3.1) as one table of an experiment.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/stages/expansion.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/diversity_strategy.hpp"
#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {
namespace {

struct DistilParams {
  std::string dataset = "prompts";
  std::string prompts;
  std::int64_t limit = 0;
  std::string decontaminate;
  std::vector<std::string> pool;
  std::map<std::string, double> pool_weights;
  std::int64_t candidates = 4;
  double temperature = 1.0;
  double top_p = 0.95;
  double merge = 0;
  double margin = 0;
  std::map<std::string, double> margins;
  bool balance_strength = false;
  bool measure = false;
  std::int64_t max_tokens = 1024;
  std::vector<std::string> scorers = {"listwise"};
  std::string diversity;
  std::int64_t max_pairs = 4;
  std::int64_t max_new_pairs = 4;

  static void describe(Schema<DistilParams>& schema) {
    schema.component<Dataset>("dataset", &DistilParams::dataset,
                              "Where the prompts and their reference answers come from (step 1).");
    schema.component<StageInputs>(
        "prompts", &DistilParams::prompts,
        "Stage of type collect whose prompts are used, in place of `dataset` and `limit`.");
    schema.field("limit", &DistilParams::limit, "Use only so many prompts; 0: all.").min(0);
    schema.component<Curator>("decontaminate", &DistilParams::decontaminate,
                              "Curator (curators/decontaminate) whose discards are dropped before "
                              "anything is asked; as in stage collect. Not "
                              "with `prompts`, which has its own.");
    schema
        .component<Mllm>("pool", &DistilParams::pool,
                         "MLLMs of which one is drawn for each prompt (step 2).")
        .required();
    schema.field("pool_weights", &DistilParams::pool_weights,
                 "Weight of each MLLM in the draw, by name; 1 where none is given.");
    schema.field("candidates", &DistilParams::candidates, "K: responses drawn for each prompt.")
        .min(2)
        .max(64);
    schema
        .field("temperature", &DistilParams::temperature, "Sampling temperature of the candidates.")
        .min(0)
        .max(2);
    schema.field("top_p", &DistilParams::top_p, "Nucleus sampling of the candidates.")
        .min(0)
        .max(1);
    schema.field("max_tokens", &DistilParams::max_tokens, "Longest candidate in tokens.").min(1);
    schema
        .field("merge", &DistilParams::merge,
               "Leave one of candidates that say the same; as in stage candidates.")
        .min(0)
        .max(1);
    schema.component<Scorer>(
        "scorers", &DistilParams::scorers,
        "Scorers that must all strictly agree for a pair to be kept. The first "
        "also decides where diversity is enhanced (steps 3 and 5).");
    schema.component<DiversityStrategy>("diversity", &DistilParams::diversity,
                                        "Strategy that adds candidates (step 4); empty: none.");
    schema
        .field("margin", &DistilParams::margin,
               "Each scorer's difference must be larger; as in stage pair.")
        .min(0)
        .max(10);
    schema.field("margins", &DistilParams::margins, "The same for single scorers, by name.");
    schema.field("balance_strength", &DistilParams::balance_strength,
                 "Draw rare strengths rather than any; as in stage pair.");
    schema.field("measure", &DistilParams::measure,
                 "Measure what style tells of the labels after each step: pairs are made after the "
                 "first scorer, after the diversity "
                 "step and at the end, and a stage bias looks at all of them.");
    schema
        .field("max_pairs", &DistilParams::max_pairs,
               "Pairs of sampled candidates kept for each prompt, drawn at random; 0: all.")
        .min(0);
    schema
        .field("max_new_pairs", &DistilParams::max_new_pairs,
               "Pairs with an added candidate kept for each prompt; 0: all.")
        .min(0);
  }
};

std::vector<StageConfig> expand(const DistilParams& params, const StageConfig& config,
                                const Experiment&) {
  if (!params.prompts.empty() && !params.decontaminate.empty())
    throw ConfigError("decontaminate: belongs to the stage that `prompts` names");
  Expansion parts(config);
  const std::string prompts = !params.prompts.empty()
                                  ? params.prompts
                                  : parts.add("prompts", "collect",
                                              {{"dataset", {params.dataset}},
                                               {"limit", {params.limit}},
                                               {"decontaminate", {params.decontaminate}}});
  std::string last = parts.add("candidates", "candidates",
                               {{"prompts", {prompts}},
                                {"pool", names(params.pool)},
                                {"pool_weights", detail::to_value(params.pool_weights)},
                                {"count", {params.candidates}},
                                {"temperature", {params.temperature}},
                                {"top_p", {params.top_p}},
                                {"max_tokens", {params.max_tokens}},
                                {"merge", {params.merge}}});
  const auto pair_params = [&](const std::string& candidates,
                               const std::vector<std::string>& scorers) {
    std::map<std::string, double> margins;
    for (const auto& [name, margin] : params.margins)
      if (scorers.size() == params.scorers.size() ||
          std::ranges::find(scorers, name) != scorers.end())
        margins.emplace(name, margin);
    return Table{{"candidates", {candidates}},
                 {"scorers", names(scorers)},
                 {"margin", {params.margin}},
                 {"margins", detail::to_value(margins)},
                 {"balance_strength", {params.balance_strength}},
                 {"max_pairs", {params.max_pairs}},
                 {"max_new_pairs", {params.max_new_pairs}}};
  };
  std::vector<std::string> measured;
  const auto measure = [&](const std::string& name, std::size_t scorers) {
    if (params.measure)
      measured.push_back(parts.add(
          name, "pair",
          pair_params(last, {params.scorers.begin(),
                             params.scorers.begin() + static_cast<std::ptrdiff_t>(scorers)})));
  };
  for (std::size_t i = 0; i < params.scorers.size(); ++i) {
    const std::string& scorer = params.scorers[i];
    last = parts.add(scorer, "score", {{"candidates", {last}}, {"scorer", {scorer}}});
    if (i == 0 && (params.scorers.size() > 1 || !params.diversity.empty()))
      measure("pairs_" + scorer, 1);
    if (i != 0 || params.diversity.empty()) continue;
    last = parts.add("diversity", "diversify",
                     {{"candidates", {last}},
                      {"strategy", {params.diversity}},
                      {"scorer", {scorer}},
                      {"pool", names(params.pool)}});
    last = parts.add("rescore", "score", {{"candidates", {last}}, {"scorer", {scorer}}});
    if (params.scorers.size() > 1) measure("pairs_diversity", 1);
  }
  if (params.measure) {
    measured.push_back(config.name);
    parts.add("bias", "bias", {{"pairs", names(measured)}});
  }
  parts.finish("pair", pair_params(last, params.scorers));
  return parts.stages();
}

}  // namespace

StageType distil_stage() {
  return make_composite<DistilParams>("distil",
                                      "Debiased preference distillation (paper section 3.1). "
                                      "Expands into collect, candidates, score, "
                                      "diversify, score and pair.",
                                      expand);
}

}  // namespace dt2it
