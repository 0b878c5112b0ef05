// SPDX-License-Identifier: Apache-2.0
#pragma once

// The preference strength of pairs by the vote of several reward models (paper section 3.3); shared by the curators that
// go by it.

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pair_rewards.hpp"
#include "dt2it/context.hpp"
#include "dt2it/params.hpp"

namespace dt2it {

// The parameters `reward_models` and `scale` of a curator's Params.
template <class P>
void describe_voters(Schema<P>& schema) {
  schema.template component<RewardModel>("reward_models", &P::reward_models, "The models that vote.").required();
  schema
      .field("scale", &P::scale,
             "none: plain mean of the margins; std: each model's margins are divided by their standard deviation over the "
             "source, so that no model counts more for its wider scale.")
      .choices({"none", "std"});
}

struct Strength {
  double mean = 0;
  std::vector<double> margins;  // of each model, scaled
  std::string missing;          // names of models without a reward for the pair; then the others mean nothing
  bool ok() const { return missing.empty(); }
};

// Models that vote. Pairs go through all models batch by batch, so that what models share, such as prepared images, is at
// hand for the next. Not thread-safe.
class Voters {
 public:
  // Throws ConfigError without a model.
  Voters(const std::vector<std::string>& names, std::string scale, Context& context) : names_(names), scale_(std::move(scale)) {
    if (names.empty()) throw ConfigError("reward_models: name at least one reward model");
    for (const std::string& name : names) models_.push_back(context.component<RewardModel>(name));
  }

  // One per pair, same order; `pairs` are all of one source.
  std::vector<Strength> strengths(std::span<const PreferencePair> pairs) const {
    std::size_t batch = 1;
    for (const auto& model : models_) batch = std::max(batch, model->batch_size());
    std::vector<std::vector<PairRewards>> rewards(models_.size());  // [model][pair]
    for (std::size_t begin = 0; begin < pairs.size(); begin += batch) {
      const auto part = pairs.subspan(begin, std::min(batch, pairs.size() - begin));
      for (std::size_t m = 0; m < models_.size(); ++m)
        for (PairRewards& reward : pair_rewards(*models_[m], part, begin)) rewards[m].push_back(std::move(reward));
    }
    std::vector<Strength> all(pairs.size());
    std::vector<std::size_t> voted;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      for (std::size_t m = 0; m < models_.size(); ++m)
        if (!rewards[m][i].ok()) all[i].missing += (all[i].ok() ? "" : ", ") + names_[m];
      if (all[i].ok()) voted.push_back(i);
    }
    for (std::size_t m = 0; m < models_.size(); ++m) {
      const double scale = scale_of(rewards[m], voted);
      for (const std::size_t i : voted) {
        all[i].margins.push_back(rewards[m][i].margin() / scale);
        all[i].mean += all[i].margins.back();
      }
    }
    for (const std::size_t i : voted) all[i].mean /= static_cast<double>(models_.size());
    return all;
  }

 private:
  // Population standard deviation of a model's margins; 1 when it is not wanted or says nothing.
  double scale_of(const std::vector<PairRewards>& rewards, const std::vector<std::size_t>& voted) const {
    if (scale_ != "std" || voted.empty()) return 1;
    double mean = 0, variance = 0;
    for (const std::size_t i : voted) mean += rewards[i].margin();
    mean /= static_cast<double>(voted.size());
    for (const std::size_t i : voted) variance += (rewards[i].margin() - mean) * (rewards[i].margin() - mean);
    const double deviation = std::sqrt(variance / static_cast<double>(voted.size()));
    return deviation > 0 ? deviation : 1;
  }

  std::vector<std::string> names_;
  std::string scale_;
  std::vector<std::shared_ptr<RewardModel>> models_;
};

}  // namespace dt2it
