// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>
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

class DropLowStrengthCurator final : public SurveyingCurator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    std::string scale = "none";
    double fraction = 0;
    double threshold = 0;
  };
  static void describe(Schema<Params>& schema) {
    describe_voters(schema);
    schema
        .field("fraction", &Params::fraction,
               "Share of a source's pairs that is discarded, the lowest first, rounded down.")
        .min(0)
        .max(1);
    schema.field("threshold", &Params::threshold,
                 "Pairs with a strength below this are discarded, whatever their number.");
  }
  DropLowStrengthCurator(const Params& params, Context& context)
      : params_(params), voters_(params.reward_models, params.scale, context) {}

  std::unique_ptr<Survey> survey(const std::string&) override {
    return std::make_unique<Source>(*this);
  }

 private:
  class Source final : public Survey {
   public:
    explicit Source(const DropLowStrengthCurator& curator)
        : params_(curator.params_), votes_(curator.voters_) {}

    void add(std::span<const PreferencePair> pairs) override { votes_.add(pairs); }

    std::vector<Decision> decide(std::span<const PreferencePair> pairs,
                                 std::size_t first) override {
      if (low_.empty()) rank();
      std::vector<Decision> decisions;
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        const Strength strength = votes_.strength(first + i);
        Decision& decision = decisions.emplace_back(open_decision(strength));
        if (!strength.ok()) continue;
        const bool low = low_[first + i], below = strength.mean < params_.threshold;
        if (low || below) {
          decision.action = Decision::Action::discard;
          decision.settled = true;
        }
        decision.reason = low     ? fmt::format("strength {:.4g} is among the lowest {} of {}",
                                                strength.mean, lowest_, voted_)
                          : below ? fmt::format("strength {:.4g} is below {:.4g}", strength.mean,
                                                params_.threshold)
                                  : fmt::format("strength {:.4g} is high enough", strength.mean);
      }
      return decisions;
    }

   private:
    void rank() {
      low_.assign(votes_.size(), false);
      voted_ = votes_.finish();
      const std::vector<std::size_t> order = votes_.ranked();
      lowest_ = part_of(params_.fraction, voted_);
      for (std::size_t place = 0; place < lowest_; ++place) low_[order[place]] = true;
    }

    const Params& params_;
    Votes votes_;
    std::vector<bool> low_;
    std::size_t lowest_ = 0, voted_ = 0;
  };

  const Params params_;
  const Voters voters_;
};

// Writes strengths on pairs, for the loss of the training to use.
template <bool kFloored>
class AnnotatingCurator final : public SurveyingCurator {
 public:
  struct Params {
    std::vector<std::string> reward_models;
    std::string scale = "none";
  };
  static void describe(Schema<Params>& schema) { describe_voters(schema); }
  AnnotatingCurator(const Params& params, Context& context)
      : voters_(params.reward_models, params.scale, context) {}

  std::unique_ptr<Survey> survey(const std::string&) override {
    return std::make_unique<Source>(voters_);
  }

 private:
  class Source final : public Survey {
   public:
    explicit Source(const Voters& voters) : votes_(voters) {}

    void add(std::span<const PreferencePair> pairs) override { votes_.add(pairs); }

    std::vector<Decision> decide(std::span<const PreferencePair> pairs,
                                 std::size_t first) override {
      if (!final_) votes_.finish();
      final_ = true;
      std::vector<Decision> decisions;
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        Decision& decision = decisions.emplace_back(open_decision(votes_.strength(first + i)));
        if (!decision.strength) continue;
        if (kFloored) decision.strength = std::max(0.0, *decision.strength);
        decision.reason = fmt::format("strength {:.4g}", *decision.strength);
      }
      return decisions;
    }

   private:
    Votes votes_;
    bool final_ = false;
  };

  const Voters voters_;
};

using SoftLabelCurator = AnnotatingCurator<false>;
using AdaptiveMarginCurator = AnnotatingCurator<true>;

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/strength", "2.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::DropLowStrengthCurator>(
      "drop_low_strength",
      "Discards the pairs that several reward models find hardly different, or the other way "
      "round.");
  registrar.add<dt2it::Curator, dt2it::SoftLabelCurator>(
      "soft_label",
      "Writes the vote of several reward models on the pairs, for soft labels in training.");
  registrar.add<dt2it::Curator, dt2it::AdaptiveMarginCurator>(
      "adaptive_margin",
      "Writes the vote of several reward models on the pairs, for margins in training.");
}
