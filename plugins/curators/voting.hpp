// SPDX-License-Identifier: Apache-2.0
#pragma once

// The preference strength of pairs by the vote of several reward models (paper section 3.3); shared
// by the curators that go by it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/pair_rewards.hpp"
#include "dt2it/params.hpp"

namespace dt2it {

// The parameters `reward_models` and `scale` of a curator's Params.
template <class P>
void describe_voters(Schema<P>& schema) {
  schema
      .template component<RewardModel>("reward_models", &P::reward_models, "The models that vote.")
      .required();
  schema
      .field("scale", &P::scale,
             "none: plain mean of the margins; std: each model's margins are divided by their "
             "standard deviation over the "
             "source, so that no model counts more for its wider scale.")
      .choices({"none", "std"});
}

struct Strength {
  double mean = 0;
  std::vector<double> margins;  // of each model, scaled
  std::string
      missing;  // names of models without a reward for the pair; then the others mean nothing
  bool ok() const { return missing.empty(); }
};

// Models that vote. Not thread-safe.
class Voters {
 public:
  // Throws ConfigError without a model.
  Voters(const std::vector<std::string>& names, std::string scale, Context& context)
      : names_(names), scale_(std::move(scale)) {
    if (names.empty()) throw ConfigError("reward_models: name at least one reward model");
    for (const std::string& name : names) {
      held_.push_back(context.component<RewardModel>(name));
      models_.push_back(held_.back().get());
    }
  }

  std::size_t size() const { return models_.size(); }
  const std::string& name(std::size_t model) const { return names_[model]; }
  bool scaled() const { return scale_ == "std"; }
  std::vector<std::vector<PairRewards>> rewards(std::span<const PreferencePair> pairs,
                                                std::size_t first) const {
    return pair_rewards(models_, pairs, first);
  }

 private:
  std::vector<std::string> names_;
  std::string scale_;
  std::vector<std::shared_ptr<RewardModel>> held_;
  std::vector<RewardModel*> models_;
};

// The votes on all pairs of a source: what curators decide by, without the pairs. 8 bytes a model
// and about 50 a pair.
class Votes {
 public:
  explicit Votes(const Voters& voters) : voters_(voters), scales_(voters.size(), 1) {}

  void add(std::span<const PreferencePair> pairs) {
    const std::vector<std::vector<PairRewards>> rewards = voters_.rewards(pairs, ids_.size());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      ids_.push_back(pairs[i].id);
      for (std::size_t m = 0; m < voters_.size(); ++m)
        margins_.push_back(rewards[m][i].ok() ? rewards[m][i].margin()
                                              : std::numeric_limits<double>::quiet_NaN());
    }
  }

  std::size_t size() const { return ids_.size(); }
  bool voted(std::size_t pair) const {
    for (const double margin : margins(pair))
      if (std::isnan(margin)) return false;
    return true;
  }
  // Once all pairs are there.
  Strength strength(std::size_t pair) const {
    Strength strength;
    const auto own = margins(pair);
    for (std::size_t m = 0; m < own.size(); ++m)
      if (std::isnan(own[m])) strength.missing += (strength.ok() ? "" : ", ") + voters_.name(m);
    if (!strength.ok()) return strength;
    strength.margins.reserve(own.size());
    for (std::size_t m = 0; m < own.size(); ++m) strength.margins.push_back(own[m] / scales_[m]);
    strength.mean = mean(pair);
    return strength;
  }

  // strength(pair).mean of one that voted.
  double mean(std::size_t pair) const {
    double mean = 0;
    const auto own = margins(pair);
    for (std::size_t m = 0; m < own.size(); ++m) mean += own[m] / scales_[m];
    return mean / static_cast<double>(own.size());
  }

  // Once all pairs are there: means become final. How many pairs have votes.
  std::size_t finish() {
    std::vector<std::size_t> voted;
    voted.reserve(size());
    for (std::size_t i = 0; i < size(); ++i)
      if (this->voted(i)) voted.push_back(i);
    set_scales(voted);
    return voted.size();
  }

  // Then the pairs with votes by their strength, the lowest first, as far as it is below `bound`. Equal ones are ordered by name, so
  // that the order of the data does not decide.
  std::vector<std::size_t> ranked(double bound = std::numeric_limits<double>::infinity()) const {
    std::vector<std::pair<double, std::size_t>> below;
    for (std::size_t i = 0; i < size(); ++i)
      if (const double own = mean(i); own < bound) below.emplace_back(own, i);  // NaN is not
    std::sort(below.begin(), below.end(), [&](const auto& a, const auto& b) {
      if (a.first != b.first) return a.first < b.first;
      const int names = ids_[a.second].compare(ids_[b.second]);
      return names != 0 ? names < 0 : a.second < b.second;
    });
    std::vector<std::size_t> order;
    order.reserve(below.size());
    for (const auto& [own, pair] : below) order.push_back(pair);
    return order;
  }

 private:
  std::span<const double> margins(std::size_t pair) const {
    return std::span(margins_).subspan(pair * voters_.size(), voters_.size());
  }

  // Population standard deviation of each model's margins; 1 when it is not wanted or says nothing.
  void set_scales(const std::vector<std::size_t>& voted) {
    if (!voters_.scaled() || voted.empty()) return;
    const auto count = static_cast<double>(voted.size());
    for (std::size_t m = 0; m < scales_.size(); ++m) {
      double mean = 0, variance = 0;
      for (const std::size_t i : voted) mean += margins(i)[m] / count;
      for (const std::size_t i : voted)
        variance += (margins(i)[m] - mean) * (margins(i)[m] - mean) / count;
      scales_[m] = variance > 0 ? std::sqrt(variance) : 1;
    }
  }

  const Voters& voters_;
  std::vector<double> margins_;  // pair after pair, model after model; NaN: none
  std::vector<std::string> ids_;
  std::vector<double> scales_;
};

// A number of pairs, rounded down; the small addend keeps 0.29 * 100 from becoming 28.
inline std::size_t part_of(double share, std::size_t whole) {
  return static_cast<std::size_t>(std::floor(share * static_cast<double>(whole) + 1e-9));
}

}  // namespace dt2it
