// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/curator.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

std::string_view status_name(Status status) {
  switch (status) {
    case Status::ok: return "ok";
    case Status::unparsed: return "unparsed";
    case Status::refused: return "refused";
    case Status::truncated: return "truncated";
    case Status::unavailable: return "unavailable";
    case Status::missing_media: return "missing_media";
    case Status::invalid: break;
  }
  return "invalid";
}

// Lets several judges compare the responses of each pair, in both orders, and follows the majority
// (paper section 3.3, third step). The judges are asked from several threads, since most of them
// are remote.
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

  ReannotateCurator(const Params& params, Context& context) : params_(params), context_(&context) {
    if (params.judges.empty()) throw ConfigError("judges: name at least one judge");
    for (const std::string& name : params.judges) judges_.push_back(context.component<Judge>(name));
  }

  std::vector<Decision> review(std::span<const PreferencePair> pairs) override {
    std::vector<Comparison> comparisons;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (pairs[i].rejected_prompt) continue;
      for (std::size_t j = 0; j < judges_.size(); ++j) {
        if (params_.both_orders) {
          comparisons.push_back({i, j, true, {}});
          comparisons.push_back({i, j, false, {}});
        } else {
          const bool chosen_first =
              context_->rng(fmt::format("order/{}/{}", pairs[i].id, params_.judges[j])).chance(0.5);
          comparisons.push_back({i, j, chosen_first, {}});
        }
      }
    }
    ask(pairs, comparisons);

    std::vector<Decision> decisions(pairs.size());
    auto next = comparisons.begin();
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const auto first = next;
      while (next != comparisons.end() && next->pair == i) ++next;
      decisions[i] = pairs[i].rejected_prompt
                         ? undecided("the two responses answer different prompts")
                         : count({first, next});
    }
    return decisions;
  }

 private:
  struct Comparison {
    std::size_t pair, judge;
    bool chosen_first;
    Verdict verdict;
  };

  void ask(std::span<const PreferencePair> pairs, std::vector<Comparison>& comparisons) {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&] {
      for (;;) {
        const std::size_t at = next++;
        if (at >= comparisons.size()) return;
        Comparison& task = comparisons[at];
        const PreferencePair& pair = pairs[task.pair];
        try {
          task.verdict = judges_[task.judge]->compare(
              pair.prompt, task.chosen_first ? pair.chosen : pair.rejected,
              task.chosen_first ? pair.rejected : pair.chosen);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          next = comparisons.size();  // the others stop after what they are at
          return;
        }
      }
    };
    {
      std::vector<std::jthread> workers;
      const std::size_t count =
          std::min(static_cast<std::size_t>(params_.concurrency), comparisons.size());
      for (std::size_t i = 0; i < count; ++i) workers.emplace_back(work);
    }
    if (failure) std::rethrow_exception(failure);
  }

  static Decision undecided(std::string reason) {
    Decision decision;
    decision.action = Decision::Action::undecided;
    decision.settled = false;
    decision.reason = std::move(reason);
    return decision;
  }

  Decision count(std::span<const Comparison> comparisons) const {
    double chosen = 0, rejected = 0;
    std::size_t failed = 0;
    boost::json::array each;
    for (const Comparison& comparison : comparisons) {
      const Verdict& verdict = comparison.verdict;
      boost::json::object entry{{"judge", params_.judges[comparison.judge]},
                                {"shown_first", comparison.chosen_first ? "chosen" : "rejected"}};
      if (!verdict.ok()) {
        ++failed;
        entry["status"] = boost::json::string_view(status_name(verdict.status));
      } else if (verdict.winner == Verdict::Winner::tie) {
        chosen += 0.5;
        rejected += 0.5;
        entry["better"] = "tie";
      } else {
        const bool for_chosen =
            (verdict.winner == Verdict::Winner::first) == comparison.chosen_first;
        (for_chosen ? chosen : rejected) += 1;
        entry["better"] = for_chosen ? "chosen" : "rejected";
      }
      each.push_back(std::move(entry));
    }

    Decision decision = undecided("no comparison succeeded");
    const double votes = chosen + rejected;
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
    decision.detail = boost::json::serialize(boost::json::object{
        {"comparisons", comparisons.size()}, {"failed", failed}, {"verdicts", std::move(each)}});
    return decision;
  }

  Params params_;
  Context* context_;
  std::vector<std::shared_ptr<Judge>> judges_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("curators/reannotate", "1.0.0", registrar) {
  registrar.add<dt2it::Curator, dt2it::ReannotateCurator>(
      "reannotate", "Asks several judges and follows their majority.");
}
