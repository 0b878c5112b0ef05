// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../pair_rewards.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// With so few pairs against them, the models' own mistakes are a large part of the negatives.
constexpr double kCleanShare = 0.2;

// Flips the labels of the pairs which several reward models contradict most (paper section 3.3,
// first step). Pairs with a negative mean margin are sorted by it, and the lowest part of them is
// flipped.
class VoteFlipCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    double fraction = 0.5;
    std::string scale = "none";
  };

  static void describe(Schema<Params>& schema) {
    schema.component<RewardModel>("reward_models", &Params::reward_models, "The models that vote.")
        .required();
    schema
        .field("fraction", &Params::fraction,
               "Share of the pairs with negative strength that is flipped, the lowest first, "
               "rounded down.")
        .min(0)
        .max(1);
    schema
        .field("scale", &Params::scale,
               "none: plain mean of the margins; std: each model's margins are divided by their "
               "standard "
               "deviation over the source, so that no model counts more for its wider scale.")
        .choices({"none", "std"});
  }

  VoteFlipCurator(const Params& params, Context& context) : params_(params), context_(&context) {
    if (params.reward_models.empty())
      throw ConfigError("reward_models: name at least one reward model");
    for (const std::string& name : params.reward_models)
      models_.push_back(context.component<RewardModel>(name));
  }

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<std::vector<PairRewards>> rewards;  // [model][pair]
    for (const auto& model : models_) rewards.push_back(pair_rewards(*model, pairs));

    std::vector<Decision> decisions(pairs.size());
    std::vector<std::size_t> voted;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      decisions[i].action = Decision::Action::undecided;
      decisions[i].settled = false;
      std::string missing;
      for (std::size_t m = 0; m < models_.size(); ++m)
        if (!rewards[m][i].ok())
          missing += (missing.empty() ? "" : ", ") + params_.reward_models[m];
      if (missing.empty())
        voted.push_back(i);
      else
        decisions[i].reason = "no strength: a reward is missing from " + missing;
    }

    std::vector<double> scales;
    for (const auto& of_model : rewards) scales.push_back(scale(of_model, voted));
    std::vector<std::size_t> negative;
    for (const std::size_t i : voted) {
      double sum = 0;
      for (std::size_t m = 0; m < models_.size(); ++m) {
        decisions[i].strengths.push_back(rewards[m][i].margin() / scales[m]);
        sum += decisions[i].strengths.back();
      }
      const double strength = sum / static_cast<double>(models_.size());
      decisions[i].strength = strength;
      decisions[i].reason = fmt::format("strength {:.4g} is not negative", strength);
      if (strength < 0) negative.push_back(i);
    }

    std::stable_sort(negative.begin(), negative.end(), [&](std::size_t a, std::size_t b) {
      return *decisions[a].strength < *decisions[b].strength;
    });
    // The small addend keeps 0.29 * 100 from becoming 28.
    const auto flips = static_cast<std::size_t>(
        std::floor(params_.fraction * static_cast<double>(negative.size()) + 1e-9));
    for (std::size_t place = 0; place < negative.size(); ++place) {
      Decision& decision = decisions[negative[place]];
      if (place < flips) decision.action = Decision::Action::flip;
      decision.reason = fmt::format(
          "strength {:.4g}, place {} of {} negatives, {} the lowest {} that are flipped",
          *decision.strength, place + 1, negative.size(), place < flips ? "among" : "not among",
          flips);
    }
    report(pairs, voted.size(), negative.size(), flips);
    return decisions;
  }

 private:
  // Population standard deviation of a model's margins; 1 when it is not wanted or says nothing.
  double scale(const std::vector<PairRewards>& rewards,
               const std::vector<std::size_t>& voted) const {
    if (params_.scale != "std" || voted.empty()) return 1;
    double mean = 0, variance = 0;
    for (const std::size_t i : voted) mean += rewards[i].margin();
    mean /= static_cast<double>(voted.size());
    for (const std::size_t i : voted)
      variance += (rewards[i].margin() - mean) * (rewards[i].margin() - mean);
    const double deviation = std::sqrt(variance / static_cast<double>(voted.size()));
    return deviation > 0 ? deviation : 1;
  }

  void report(std::span<const PreferencePair> pairs, std::size_t voted, std::size_t negative,
              std::size_t flips) const {
    if (pairs.empty()) return;
    const std::string source =
        pairs.front().source.empty() ? "this source" : "'" + pairs.front().source + "'";
    context_->log(LogLevel::info,
                  fmt::format("{}: {} of {} pairs have a strength, {} negative, {} flipped", source,
                              voted, pairs.size(), negative, flips));
    if (flips > 0 && static_cast<double>(negative) < kCleanShare * static_cast<double>(voted))
      context_->log(
          LogLevel::warning,
          fmt::format(
              "{}: only {:.0f} % of the pairs have a negative strength. On a nearly clean source "
              "flipping spoils more labels than it mends; consider leaving vote_flip out for it",
              source, 100.0 * static_cast<double>(negative) / static_cast<double>(voted)));
  }

  Params params_;
  Context* context_;
  std::vector<std::shared_ptr<RewardModel>> models_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/vote_flip", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::VoteFlipCurator>(
      "vote_flip", "Flips the pairs that several reward models contradict most.");
}
