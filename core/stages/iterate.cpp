// SPDX-License-Identifier: Apache-2.0
// The iterative training framework (paper section 3.3): round by round, curate new sets with the last
// model, merge, train, curate the merged set without the flip step, train again.
#include <fmt/format.h>

#include "core/stages/expansion.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it {
namespace {

struct IterateParams {
  std::vector<std::string> initial;
  std::vector<std::string> sets;
  std::vector<std::int64_t> sets_per_round;
  std::vector<std::string> curators = {"vote_flip", "consistency", "reannotate"};
  std::vector<std::string> curators_again = {"consistency", "reannotate"};
  std::string trainer = "bradley_terry";
  std::string model = "current";
  std::vector<std::string> voters;

  static void describe(Schema<IterateParams>& schema) {
    schema.component<StageInputs>("initial", &IterateParams::initial,
                                  "Stages whose pairs are D0, the initial data.").required();
    schema.component<Dataset>("sets", &IterateParams::sets,
                              "Open preference sets in the order in which they enter.").required();
    schema.field("sets_per_round", &IterateParams::sets_per_round,
                 "How many of the sets enter in each round; its length is the number of rounds.")
        .required().min(1);
    schema.component<Curator>("curators", &IterateParams::curators,
                              "Chain that curates the sets that are new in a round.");
    schema.component<Curator>("curators_again", &IterateParams::curators_again,
                              "Chain that curates the merged set: without the flip step.");
    schema.component<Trainer>("trainer", &IterateParams::trainer, "Trainer of every model.");
    schema.component<RewardModel>("model", &IterateParams::model,
                                  "The reward model by which the curators know the last trained model; "
                                  "its checkpoint is set in each round.");
    schema.component<RewardModel>("voters", &IterateParams::voters,
                                  "Reward models by which the curators know the voting models. The first "
                                  "is the model trained on D0, each other one trained on D0 in another "
                                  "order; their checkpoints are set here.");
  }
};

// The component, with its checkpoint replaced by the result of a stage.
ComponentConfig bound(const Experiment& experiment, const StageConfig& config, const std::string& name,
                      const std::string& stage) {
  const ComponentConfig* base = experiment.component(RewardModel::kKind, name);
  for (const ComponentConfig& own : config.with)
    if (own.kind == RewardModel::kKind && own.name == name) base = &own;
  if (!base)
    throw ConfigError(fmt::format("{}:{}:{}: no [reward_models.{}] is defined", config.where.file,
                                  config.where.line, config.where.column, name));
  ComponentConfig component = *base;
  component.params["checkpoint"] = {"stage:" + stage};
  return component;
}

std::vector<StageConfig> expand(const IterateParams& params, const StageConfig& config,
                                const Experiment& experiment) {
  std::size_t total = 0;
  for (std::int64_t count : params.sets_per_round) total += static_cast<std::size_t>(count);
  if (total != params.sets.size())
    throw ConfigError(fmt::format(
        "{}:{}:{}: sets_per_round adds up to {}, but there are {} sets (they must be equal)",
        config.where.file, config.where.line, config.where.column, total, params.sets.size()));

  Expansion parts(config);
  auto train = [&](const std::string& part, const Value& pairs, std::int64_t order) {
    return parts.add(part, "train",
                     {{"pairs", pairs}, {"trainer", {params.trainer}}, {"order", {order}}});
  };
  std::string model = train("model_0", names(params.initial), 0);
  std::vector<ComponentConfig> voters;
  for (std::size_t i = 0; i < params.voters.size(); ++i)
    voters.push_back(bound(experiment, config, params.voters[i],
                           i == 0 ? model
                                  : train(fmt::format("voter_{}", i), names(params.initial),
                                          static_cast<std::int64_t>(i))));
  std::vector<std::string> data = params.initial;
  std::size_t next_set = 0;
  const std::size_t rounds = params.sets_per_round.size();
  for (std::size_t round = 1; round <= rounds; ++round) {
    auto part = [&](std::string_view name) { return fmt::format("{}_{}", name, round); };
    std::vector<std::string> raw;
    for (std::int64_t i = 0; i < params.sets_per_round[round - 1]; ++i, ++next_set)
      raw.push_back(parts.add("set_" + params.sets[next_set], "collect_pairs",
                              {{"dataset", {params.sets[next_set]}}}));
    std::vector<ComponentConfig> with = voters;
    with.push_back(bound(experiment, config, params.model, model));
    const std::string curated = parts.add(
        part("curated"), "curate", {{"pairs", names(raw)}, {"curators", names(params.curators)}}, with);
    data.insert(data.begin(), curated);
    const std::string merged = parts.add(part("merged"), "mix", {{"pairs", names(data)}});
    const std::string interim = train(part("interim_model"), names({merged}), 0);
    const std::string clean =
        parts.add(part("data"), "curate",
                  {{"pairs", names({merged})}, {"curators", names(params.curators_again)}},
                  {bound(experiment, config, params.model, interim)});
    data = {clean};
    if (round == rounds)
      parts.finish("train", {{"pairs", names(data)}, {"trainer", {params.trainer}}, {"order", {std::int64_t{0}}}});
    else
      model = train(part("model"), names(data), 0);
  }
  return parts.stages();
}

}  // namespace

StageType iterate_stage() {
  StageType type = make_composite<IterateParams>(
      "iterate",
      "Iterative training (paper section 3.3). Expands each round into collect_pairs, curate, mix, train, "
      "curate, train.",
      expand);
  type.result = "checkpoint";
  return type;
}

}  // namespace dt2it
