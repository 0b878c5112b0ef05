// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../voting.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// With so few pairs against them, the models' own mistakes are a large part of the negatives.
constexpr double kCleanShare = 0.2;

// Flips the labels of the pairs which several reward models contradict most (paper section 3.3, first step).
class VoteFlipCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    std::string scale = "none";
    std::string rule = "fraction";
    double fraction = 0.5;
    double threshold = 0;
    double quantile = 0.1;
  };

  static void describe(Schema<Params>& schema) {
    describe_voters(schema);
    schema
        .field("rule", &Params::rule,
               "fraction: the lowest `fraction` of the pairs with negative strength (the paper's rule); threshold: those with a "
               "strength below -`threshold`; quantile: of all pairs the lowest `quantile`, as far as they are negative.")
        .choices({"fraction", "threshold", "quantile"});
    schema.field("fraction", &Params::fraction, "Share of the pairs with negative strength that is flipped, rounded down.")
        .min(0)
        .max(1);
    schema.field("threshold", &Params::threshold, "For the rule threshold.").min(0);
    schema.field("quantile", &Params::quantile, "For the rule quantile; rounded down.").min(0).max(1);
  }

  VoteFlipCurator(const Params& params, Context& context)
      : params_(params), context_(&context), voters_(params.reward_models, params.scale, context) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    const std::vector<Strength> strengths = voters_.strengths(pairs);
    std::vector<Decision> decisions(pairs.size());
    std::vector<std::size_t> negative;
    std::size_t voted = 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      Decision& decision = decisions[i];
      decision.action = Decision::Action::undecided;
      decision.settled = false;
      if (!strengths[i].ok()) {
        decision.reason = "no strength: a reward is missing from " + strengths[i].missing;
        continue;
      }
      ++voted;
      decision.strength = strengths[i].mean;
      decision.strengths = strengths[i].margins;
      decision.reason = fmt::format("strength {:.4g} is not negative", strengths[i].mean);
      if (strengths[i].mean < 0) negative.push_back(i);
    }
    // Equal strengths are ordered by name, so that the order of the data does not decide.
    std::sort(negative.begin(), negative.end(), [&](std::size_t a, std::size_t b) {
      if (strengths[a].mean != strengths[b].mean) return strengths[a].mean < strengths[b].mean;
      return pairs[a].id != pairs[b].id ? pairs[a].id < pairs[b].id : a < b;
    });
    std::size_t flips = 0;
    if (params_.rule == "threshold")
      while (flips < negative.size() && strengths[negative[flips]].mean < -params_.threshold) ++flips;
    else if (params_.rule == "quantile")
      flips = std::min(negative.size(), part(params_.quantile, voted));
    else
      flips = part(params_.fraction, negative.size());
    for (std::size_t place = 0; place < negative.size(); ++place) {
      Decision& decision = decisions[negative[place]];
      if (place < flips) decision.action = Decision::Action::flip;
      decision.reason = fmt::format("strength {:.4g}, place {} of {} negatives, {} the lowest {} that are flipped",
                                    *decision.strength, place + 1, negative.size(), place < flips ? "among" : "not among", flips);
    }
    report(pairs, voted, negative.size(), flips);
    return decisions;
  }

 private:
  // Rounded down; the small addend keeps 0.29 * 100 from becoming 28.
  static std::size_t part(double share, std::size_t of) {
    return static_cast<std::size_t>(std::floor(share * static_cast<double>(of) + 1e-9));
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

  const Params params_;
  Context* const context_;
  const Voters voters_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/vote_flip", "1.1.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::VoteFlipCurator>(
      "vote_flip", "Flips the pairs that several reward models contradict most.");
}
