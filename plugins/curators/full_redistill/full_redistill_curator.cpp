// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/scorer.hpp"
#include "plugins/common/concurrent.hpp"

namespace dt2it {
namespace {

// Makes every label anew by the scores of judges, as the distillation does.
class FullRedistillCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> scorers{"listwise", "pointwise"};
    bool both_orders = true;
    double min_gap = 0;
    int concurrency = 8;
  };
  static void describe(Schema<Params>& schema) {
    schema.component<Scorer>("scorers", &Params::scorers,
                             "The scorers that must agree on which response is better.");
    schema.field("both_orders", &Params::both_orders,
                 "Ask each scorer twice, with the responses in either order.");
    schema
        .field("min_gap", &Params::min_gap,
               "The better response must be ahead by more than this; scores are 0 to 10.")
        .min(0)
        .max(10);
    schema.field("concurrency", &Params::concurrency, "Scorings in flight at a time.")
        .min(1)
        .max(256);
  }

  FullRedistillCurator(const Params& params, Context& context) : params_(params) {
    if (params.scorers.empty()) throw ConfigError("scorers: name at least one scorer");
    for (const std::string& name : params.scorers)
      scorers_.push_back(context.component<Scorer>(name));
  }

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    const std::size_t orders = params_.both_orders ? 2 : 1, each = scorers_.size() * orders;
    struct Scores {
      Score chosen, rejected;
    };
    std::vector<Scores> scores(pairs.size() *
                               each);  // pair after pair, scorer after scorer, order after order
    concurrently(scores.size(), params_.concurrency, [&](std::size_t at) {
      const PreferencePair& pair = pairs[at / each];
      if (pair.rejected_prompt) return;
      const bool chosen_first = at % orders == 0;
      const std::array<Response, 2> shown = chosen_first ? std::array{pair.chosen, pair.rejected}
                                                         : std::array{pair.rejected, pair.chosen};
      std::vector<Score> given = scorers_[at % each / orders]->score(pair.prompt, shown);
      if (given.size() != 2)
        throw PluginError(fmt::format("a scorer gave {} scores for 2 responses", given.size()));
      scores[at] = {std::move(given[chosen_first ? 0 : 1]), std::move(given[chosen_first ? 1 : 0])};
    });
    std::vector<Decision> decisions;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      Decision& decision = decisions.emplace_back();
      if (pairs[i].rejected_prompt) {
        decision.settled = false;
        decision.reason = "the two responses answer different prompts";
        continue;
      }
      std::size_t for_label = 0, against = 0, missing = 0;
      std::string detail;
      for (std::size_t s = 0; s < scorers_.size(); ++s) {
        double chosen = 0, rejected = 0;
        bool whole = true;
        for (std::size_t order = 0; order < orders; ++order) {
          const Scores& one = scores[i * each + s * orders + order];
          whole &= one.chosen.ok() && one.rejected.ok();
          chosen += one.chosen.overall / static_cast<double>(orders);
          rejected += one.rejected.overall / static_cast<double>(orders);
        }
        detail += detail.empty() ? "{" : ",";
        if (whole) {
          for_label += chosen - rejected > params_.min_gap;
          against += rejected - chosen > params_.min_gap;
          detail += fmt::format("\"{}\":[{},{}]", params_.scorers[s], chosen, rejected);
        } else {
          ++missing;
          detail += fmt::format("\"{}\":null", params_.scorers[s]);
        }
      }
      decision.detail = detail + "}";
      decision.votes_chosen = static_cast<double>(for_label);
      decision.votes_rejected = static_cast<double>(against);
      if (missing > 0) {
        decision.settled = false;
        decision.reason = fmt::format("{} of {} scorers gave no scores", missing, scorers_.size());
      } else if (for_label == scorers_.size()) {
        decision.action = Decision::Action::keep;
        decision.reason = "all scorers find the chosen response better";
      } else if (against == scorers_.size()) {
        decision.action = Decision::Action::flip;
        decision.reason = "all scorers find the rejected response better";
      } else {
        decision.action = Decision::Action::discard;
        decision.reason = fmt::format("{} of {} scorers are for the label, {} against it",
                                      for_label, scorers_.size(), against);
      }
    }
    return decisions;
  }

 private:
  const Params params_;
  std::vector<std::shared_ptr<Scorer>> scorers_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/full_redistill", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::FullRedistillCurator>(
      "full_redistill", "Has judges score everything anew: the costly baseline of curation.");
}
