// SPDX-License-Identifier: Apache-2.0
#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
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
class VoteFlipCurator final : public SurveyingCurator {
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
               "fraction: the lowest `fraction` of the pairs with negative strength (the paper's "
               "rule); threshold: those with a "
               "strength below -`threshold`; quantile: of all pairs the lowest `quantile`, as far "
               "as they are negative.")
        .choices({"fraction", "threshold", "quantile"});
    schema
        .field("fraction", &Params::fraction,
               "Share of the pairs with negative strength that is flipped, rounded down.")
        .min(0)
        .max(1);
    schema.field("threshold", &Params::threshold, "For the rule threshold.").min(0);
    schema.field("quantile", &Params::quantile, "For the rule quantile; rounded down.")
        .min(0)
        .max(1);
  }

  VoteFlipCurator(const Params& params, Context& context)
      : params_(params), context_(&context), voters_(params.reward_models, params.scale, context) {}

  std::unique_ptr<Survey> survey(const std::string& source) override {
    return std::make_unique<Source>(*this, source);
  }

 private:
  class Source final : public Survey {
   public:
    Source(const VoteFlipCurator& curator, std::string source)
        : curator_(curator), source_(std::move(source)), votes_(curator.voters_) {}

    void add(std::span<const PreferencePair> pairs) override { votes_.add(pairs); }

    std::vector<Decision> decide(std::span<const PreferencePair> pairs,
                                 std::size_t first) override {
      if (places_.empty()) rank();
      std::vector<Decision> decisions(pairs.size());
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        Decision& decision = decisions[i];
        decision.settled = false;
        Strength strength = votes_.strength(first + i);
        if (!strength.ok()) {
          decision.reason = "no strength: a reward is missing from " + strength.missing;
          continue;
        }
        decision.strength = strength.mean;
        decision.strengths = std::move(strength.margins);
        const std::size_t place = places_[first + i];
        if (place == 0) {
          decision.reason =
              fmt::format(FMT_COMPILE("strength {:.4g} is not negative"), strength.mean);
          continue;
        }
        const bool flip = place <= flips_;
        if (flip) decision.action = Decision::Action::flip;
        decision.reason = fmt::format(
            FMT_COMPILE(
                "strength {:.4g}, place {} of {} negatives, {} the lowest {} that are flipped"),
            strength.mean, place, negatives_, flip ? "among" : "not among", flips_);
      }
      return decisions;
    }

   private:
    void rank() {
      const Params& params = curator_.params_;
      places_.assign(votes_.size(), 0);
      const std::size_t voted = votes_.finish();
      const std::vector<std::size_t> order = votes_.ranked(0);
      negatives_ = order.size();
      std::size_t below = 0;  // the threshold
      for (std::size_t place = 0; place < negatives_; ++place) {
        places_[order[place]] = static_cast<std::uint32_t>(place + 1);
        below += votes_.mean(order[place]) < -params.threshold;
      }
      flips_ = params.rule == "threshold"  ? below
               : params.rule == "quantile" ? std::min(negatives_, part_of(params.quantile, voted))
                                           : part_of(params.fraction, negatives_);
      curator_.report(source_, votes_.size(), voted, negatives_, flips_);
    }

    const VoteFlipCurator& curator_;
    const std::string source_;
    Votes votes_;
    std::vector<std::uint32_t> places_;  // among the negatives, from 1; 0: not one of them
    std::size_t negatives_ = 0, flips_ = 0;
  };

  void report(const std::string& source, std::size_t pairs, std::size_t voted, std::size_t negative,
              std::size_t flips) const {
    const std::string name = source.empty() ? "this source" : "'" + source + "'";
    context_->log(LogLevel::info,
                  fmt::format("{}: {} of {} pairs have a strength, {} negative, {} flipped", name,
                              voted, pairs, negative, flips));
    if (flips > 0 && static_cast<double>(negative) < kCleanShare * static_cast<double>(voted))
      context_->log(
          LogLevel::warning,
          fmt::format(
              "{}: only {:.0f} % of the pairs have a negative strength. On a nearly clean source "
              "flipping spoils more labels than it mends; consider leaving vote_flip out for it",
              name, 100.0 * static_cast<double>(negative) / static_cast<double>(voted)));
  }

  const Params params_;
  Context* const context_;
  const Voters voters_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/vote_flip", "2.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::VoteFlipCurator>(
      "vote_flip", "Flips the pairs that several reward models contradict most.");
}
