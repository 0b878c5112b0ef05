// SPDX-License-Identifier: Apache-2.0
// The iterative training framework (paper section 3.3): round by round, curate new sets with the last
// model, merge, train, curate the merged set without the flip step, train again. The models that look at the new sets give their
// rewards in one pass before (the stage `vote`), and curators look them up.
#include <fmt/format.h>

#include "core/run/layout.hpp"
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
  std::vector<std::string> held_out;
  bool early_stop = false;
  double min_gain = 0;

  static void describe(Schema<IterateParams>& schema) {
    schema
        .component<StageInputs>("initial", &IterateParams::initial,
                                "Stages whose pairs are D0, the initial data.")
        .required();
    schema
        .component<Dataset>("sets", &IterateParams::sets,
                            "Open preference sets in the order in which they enter.")
        .required();
    schema
        .field("sets_per_round", &IterateParams::sets_per_round,
               "How many of the sets enter in each round; its length is the number of rounds.")
        .required()
        .min(1);
    schema.component<Curator>("curators", &IterateParams::curators,
                              "Chain that curates the sets that are new in a round.");
    schema.component<Curator>("curators_again", &IterateParams::curators_again,
                              "Chain that curates the merged set: without the flip step.");
    schema.component<Trainer>("trainer", &IterateParams::trainer, "Trainer of every model.");
    schema.component<RewardModel>(
        "model", &IterateParams::model,
        "The reward model by which the curators know the last trained model; "
        "its checkpoint is set in each round.");
    schema.component<RewardModel>(
        "voters", &IterateParams::voters,
        "Reward models by which the curators know the voting models. The first "
        "is the model trained on D0, each other one trained on D0 in another "
        "order; their checkpoints are set here.");
    schema.component<StageInputs>(
        "held_out", &IterateParams::held_out,
        "Stages whose pairs every training looks at without learning from them.");
    schema.field("early_stop", &IterateParams::early_stop,
                 "End the rounds after the first whose model is not better on the held-out pairs "
                 "than the best before it; the result "
                 "is the best model.");
    schema
        .field("min_gain", &IterateParams::min_gain,
               "With early_stop: by how much accuracy must grow.")
        .min(-1)
        .max(1);
  }
};

// The component, with its checkpoint replaced by the result of a stage.
ComponentConfig bound(const Experiment& experiment, const StageConfig& config,
                      const std::string& name, const std::string& stage) {
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

// A stage by which the models that look at new sets do so in one pass; what the curators know them by then. A `current` model that
// is one of the voters is not asked twice.
std::vector<ComponentConfig> looked_up(Expansion& parts, const std::string& part,
                                       const std::vector<std::string>& sets,
                                       const std::vector<ComponentConfig>& voters,
                                       const ComponentConfig& current) {
  if (voters.empty()) return {current};
  std::vector<ComponentConfig> asked = voters;
  std::vector<std::pair<std::string, std::string>> known;  // component, whose rewards
  for (const ComponentConfig& voter : voters) known.emplace_back(voter.name, voter.name);
  std::string same;
  for (const ComponentConfig& voter : voters)
    if (same.empty() && voter.type == current.type && voter.params == current.params)
      same = voter.name;
  if (same.empty()) asked.push_back(current);
  known.emplace_back(current.name, same.empty() ? current.name : same);
  std::vector<std::string> models;
  for (const ComponentConfig& model : asked) models.push_back(model.name);
  const std::string votes =
      parts.add(part, "vote", {{"pairs", names(sets)}, {"reward_models", names(models)}}, asked);
  std::vector<ComponentConfig> stored;
  for (const auto& [name, whose] : known) {
    ComponentConfig component{current.kind, name, "stored", {}, current.where, {}};
    component.params["rewards"] = {"stage:" + votes};
    component.params["model"] = {whose};
    stored.push_back(std::move(component));
  }
  return stored;
}

std::vector<StageConfig> expand(const IterateParams& params, const StageConfig& config,
                                const Experiment& experiment) {
  std::size_t total = 0;
  for (std::int64_t count : params.sets_per_round) total += static_cast<std::size_t>(count);
  if (total != params.sets.size())
    throw ConfigError(fmt::format(
        "{}:{}:{}: sets_per_round adds up to {}, but there are {} sets (they must be equal)",
        config.where.file, config.where.line, config.where.column, total, params.sets.size()));

  if (params.early_stop && params.held_out.empty())
    throw ConfigError(fmt::format(
        "{}:{}:{}: early_stop needs held_out: stages with pairs to measure the models on",
        config.where.file, config.where.line, config.where.column));

  Expansion parts(config);
  const auto training = [&](const Value& pairs, std::int64_t order) {
    return Table{{"pairs", pairs},
                 {"trainer", {params.trainer}},
                 {"order", {order}},
                 {"held_out", names(params.held_out)}};
  };
  const auto train = [&](const std::string& part, const Value& pairs, std::int64_t order) {
    return parts.add(part, "train", training(pairs, order));
  };
  std::string model = train("model_0", names(params.initial), 0);
  std::vector<ComponentConfig> voters;
  for (std::size_t i = 0; i < params.voters.size(); ++i)
    voters.push_back(bound(experiment, config, params.voters[i],
                           i == 0 ? model
                                  : train(fmt::format("voter_{}", i), names(params.initial),
                                          static_cast<std::int64_t>(i))));
  std::vector<std::string> data = params.initial, models = {model};
  std::size_t next_set = 0;
  const std::size_t rounds = params.sets_per_round.size();
  for (std::size_t round = 1; round <= rounds; ++round) {
    auto part = [&](std::string_view name) { return fmt::format("{}_{}", name, round); };
    std::vector<std::string> raw;
    parts.gate("");
    for (std::int64_t i = 0; i < params.sets_per_round[round - 1]; ++i, ++next_set)
      raw.push_back(parts.add("set_" + params.sets[next_set], "collect_pairs",
                              {{"dataset", {params.sets[next_set]}}}));
    if (params.early_stop && round > 1)
      parts.gate(parts.add(fmt::format("gate_{}", round - 1), "early_stop",
                           {{"models", names(models)}, {"min_gain", {params.min_gain}}}));
    const ComponentConfig current = bound(experiment, config, params.model, model);
    const std::string curated = parts.add(
        part("curated"), "curate", {{"pairs", names(raw)}, {"curators", names(params.curators)}},
        looked_up(parts, part("votes"), raw, voters, current));
    data.insert(data.begin(), curated);
    const std::string merged = parts.add(part("merged"), "mix", {{"pairs", names(data)}});
    const std::string interim = train(part("interim_model"), names({merged}), 0);
    const std::string clean =
        parts.add(part("data"), "curate",
                  {{"pairs", names({merged})}, {"curators", names(params.curators_again)}},
                  {bound(experiment, config, params.model, interim)});
    data = {clean};
    if (round == rounds && !params.early_stop) {
      parts.finish("train", training(names(data), 0));
    } else {
      model = train(part("model"), names(data), 0);
      models.push_back(model);
    }
  }
  if (params.early_stop) {
    parts.gate("");
    parts.finish("early_stop", {{"models", names(models)}, {"min_gain", {params.min_gain}}});
  }
  return parts.stages();
}

}  // namespace

StageType iterate_stage() {
  StageType type =
      make_composite<IterateParams>("iterate",
                                    "Iterative training (paper section 3.3). Expands each round "
                                    "into collect_pairs, vote, curate, mix, "
                                    "train, curate, train.",
                                    expand);
  type.result = layout::kCheckpoint;
  return type;
}

}  // namespace dt2it
