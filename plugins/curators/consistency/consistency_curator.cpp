// SPDX-License-Identifier: Apache-2.0
#include <fmt/compile.h>
#include <fmt/format.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/pair_rewards.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// Keeps the pairs with which the trained reward model agrees (paper section 3.3, second step); the
// others go to the next curator. A tie is no agreement.
class ConsistencyCurator final : public Curator {
 public:
  struct Params {
    std::string reward_model;
  };
  static void describe(Schema<Params>& schema) {
    schema.component<RewardModel>("reward_model", &Params::reward_model, "The model to agree with.")
        .required()
        .argument();
  }
  ConsistencyCurator(const Params& params, Context& context)
      : model_(context.component<RewardModel>(params.reward_model)) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<Decision> decisions;
    decisions.reserve(pairs.size());
    for (const PairRewards& rewards : pair_rewards(*model_, pairs)) {
      Decision decision;
      decision.settled = false;
      if (!rewards.ok()) {
        decision.reason = "no reward from the model";
      } else {
        const double margin = rewards.margin();
        if (rewards.chosen.value > rewards.rejected.value) {
          decision.action = Decision::Action::keep;
          decision.settled = true;
          decision.reason = fmt::format(FMT_COMPILE("the model agrees, margin {:.4g}"), margin);
        } else if (margin == 0) {
          decision.reason = "the model gives both the same reward";
        } else {
          decision.reason = fmt::format(FMT_COMPILE("the model disagrees, margin {:.4g}"), margin);
        }
        // Not in `strength`: that is the vote of several models, which this must not replace.
        decision.detail =
            fmt::format(FMT_COMPILE("{{\"chosen_reward\":{},\"rejected_reward\":{}}}"),
                        rewards.chosen.value, rewards.rejected.value);
      }
      decisions.push_back(std::move(decision));
    }
    return decisions;
  }

 private:
  std::shared_ptr<RewardModel> model_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/consistency", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::ConsistencyCurator>(
      "consistency", "Keeps the pairs whose label the trained reward model shares.");
}
