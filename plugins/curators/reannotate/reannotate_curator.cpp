// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../judge_panel.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/names.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// Lets several judges compare the responses of each pair, in both orders, and follows the majority
// (paper section 3.3, third step).
class ReannotateCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> judges;
    bool both_orders = true;
    std::optional<double> expected_votes;
    int concurrency = 8;
  };

  static void describe(Schema<Params>& schema) {
    schema.component<Judge>("judges", &Params::judges, "The judges that vote.").required();
    schema.field(
        "both_orders", &Params::both_orders,
        "Ask each judge twice, with the responses in either order; false: once, in a drawn order.");
    schema
        .field("expected_votes", &Params::expected_votes,
               "Discard a pair unless exactly so many votes were given; not given: any number will "
               "do.")
        .min(1);
    schema.field("concurrency", &Params::concurrency, "Comparisons in flight at a time.")
        .min(1)
        .max(256);
  }

  ReannotateCurator(const Params& params, Context& context)
      : params_(params), panel_(params.judges, params.both_orders, params.concurrency, context) {}

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<std::size_t> all(pairs.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    std::vector<Decision> decisions;
    for (const PanelVote& vote : panel_.ask(pairs, all))
      decisions.push_back(pairs[decisions.size()].rejected_prompt
                              ? undecided("the two responses answer different prompts")
                              : count(vote));
    return decisions;
  }

 private:
  static Decision undecided(std::string reason) {
    Decision decision;
    decision.action = Decision::Action::undecided;
    decision.settled = false;
    decision.reason = std::move(reason);
    return decision;
  }

  Decision count(const PanelVote& vote) const {
    boost::json::array each;
    for (const PanelVerdict& one : vote.verdicts) {
      boost::json::object entry{{"judge", panel_.name(one.judge)},
                                {"shown_first", one.chosen_first ? "chosen" : "rejected"}};
      if (!one.verdict.ok())
        entry["status"] = boost::json::string_view(name_of(kStatusNames, one.verdict.status));
      else if (one.verdict.winner == Verdict::Winner::tie)
        entry["better"] = "tie";
      else
        entry["better"] = (one.verdict.winner == Verdict::Winner::first) == one.chosen_first
                              ? "chosen"
                              : "rejected";
      if (!one.verdict.detail.empty()) entry["detail"] = one.verdict.detail;
      each.push_back(std::move(entry));
    }

    Decision decision = undecided("no comparison succeeded");
    const double votes = vote.votes(), chosen = vote.chosen, rejected = vote.rejected;
    if (votes > 0) {
      decision.settled = true;
      if (params_.expected_votes && votes != *params_.expected_votes) {
        decision.action = Decision::Action::discard;
        decision.reason = fmt::format("{} votes instead of {}", votes, *params_.expected_votes);
      } else if (chosen == rejected) {
        decision.action = Decision::Action::discard;
        decision.reason = "tie";
      } else {
        decision.action = chosen > rejected ? Decision::Action::keep : Decision::Action::flip;
        decision.reason =
            fmt::format("{} votes to {} {} the label", std::max(chosen, rejected),
                        std::min(chosen, rejected), chosen > rejected ? "for" : "against");
      }
    }
    decision.votes_chosen = chosen;
    decision.votes_rejected = rejected;
    decision.detail =
        boost::json::serialize(boost::json::object{{"comparisons", vote.verdicts.size()},
                                                   {"failed", vote.failed},
                                                   {"verdicts", std::move(each)}});
    return decision;
  }

  const Params params_;
  const JudgePanel panel_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/reannotate", "1.1.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::ReannotateCurator>(
      "reannotate", "Asks several judges and follows their majority.");
}
