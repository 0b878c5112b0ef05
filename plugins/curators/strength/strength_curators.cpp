// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "../voting.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

Decision open_decision(const Strength& strength) {
  Decision decision;
  decision.action = Decision::Action::undecided;
  decision.settled = false;
  if (!strength.ok()) {
    decision.reason = "no strength: a reward is missing from " + strength.missing;
    return decision;
  }
  decision.strength = strength.mean;
  decision.strengths = strength.margins;
  return decision;
}

class DropLowStrengthCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    std::string scale = "none";
    double fraction = 0;
    double threshold = 0;
  };
  static void describe(Schema<Params>& schema) {
    describe_voters(schema);
    schema.field("fraction", &Params::fraction, "Share of a source's pairs that is discarded, the lowest first, rounded down.")
        .min(0)
        .max(1);
    schema.field("threshold", &Params::threshold, "Pairs with a strength below this are discarded, whatever their number.");
  }
  DropLowStrengthCurator(const Params& params, Context& context)
      : params_(params), voters_(params.reward_models, params.scale, context) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    const std::vector<Strength> strengths = voters_.strengths(pairs);
    std::vector<Decision> decisions;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      decisions.push_back(open_decision(strengths[i]));
      if (strengths[i].ok()) order.push_back(i);
    }
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      if (strengths[a].mean != strengths[b].mean) return strengths[a].mean < strengths[b].mean;
      return pairs[a].id != pairs[b].id ? pairs[a].id < pairs[b].id : a < b;
    });
    const auto lowest = static_cast<std::size_t>(std::floor(params_.fraction * static_cast<double>(order.size()) + 1e-9));
    for (std::size_t place = 0; place < order.size(); ++place) {
      Decision& decision = decisions[order[place]];
      const double mean = strengths[order[place]].mean;
      const bool low = place < lowest, below = mean < params_.threshold;
      if (low || below) {
        decision.action = Decision::Action::discard;
        decision.settled = true;
      }
      decision.reason = low     ? fmt::format("strength {:.4g} is among the lowest {} of {}", mean, lowest, order.size())
                        : below ? fmt::format("strength {:.4g} is below {:.4g}", mean, params_.threshold)
                                : fmt::format("strength {:.4g} is high enough", mean);
    }
    return decisions;
  }

 private:
  const Params params_;
  const Voters voters_;
};

// Writes strengths on pairs, for the loss of the training to use.
template <bool kFloored>
class AnnotatingCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    std::string scale = "none";
  };
  static void describe(Schema<Params>& schema) {
    describe_voters(schema);
  }
  AnnotatingCurator(const Params& params, Context& context) : voters_(params.reward_models, params.scale, context) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<Decision> decisions;
    for (const Strength& strength : voters_.strengths(pairs)) {
      Decision decision = open_decision(strength);
      if (decision.strength) {
        if (kFloored) decision.strength = std::max(0.0, *decision.strength);
        decision.reason = fmt::format("strength {:.4g}", *decision.strength);
      }
      decisions.push_back(std::move(decision));
    }
    return decisions;
  }

 private:
  const Voters voters_;
};

using SoftLabelCurator = AnnotatingCurator<false>;
using AdaptiveMarginCurator = AnnotatingCurator<true>;

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/strength", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::DropLowStrengthCurator>(
      "drop_low_strength", "Discards the pairs that several reward models find hardly different, or the other way round.");
  registrar.add<dt2it::Curator, dt2it::SoftLabelCurator>(
      "soft_label", "Writes the vote of several reward models on the pairs, for soft labels in training.");
  registrar.add<dt2it::Curator, dt2it::AdaptiveMarginCurator>(
      "adaptive_margin", "Writes the vote of several reward models on the pairs, for margins in training.");
}
