// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include "dt2it/judge.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/scorer.hpp"
#include "plugins/common/judging/judgeable.hpp"

namespace dt2it {
namespace {

// Shows all candidates to the judge at once, in their order (paper section 3.1, step 3).
// Thread-safe.
class ListwiseScorer final : public Scorer {
 public:
  struct Params {
    std::string judge = "teacher";
  };
  static void describe(Schema<Params>& schema) {
    schema.component<Judge>("judge", &Params::judge, "Judge to ask.").argument();
  }
  ListwiseScorer(const Params& params, Context& context)
      : judge_(context.component<Judge>(params.judge)) {}

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> candidates) override {
    std::vector<Response> shown;
    for (const Response& candidate : candidates)
      if (candidate.status == Status::ok) shown.push_back(candidate);
    std::vector<Score> given;
    if (!shown.empty()) given = judge_->score(prompt, shown);
    if (given.size() != shown.size())
      throw PluginError("the judge gave " + std::to_string(given.size()) + " scores for " +
                        std::to_string(shown.size()) + " responses");

    std::vector<Score> scores;
    auto next = given.begin();
    for (const Response& candidate : candidates)
      scores.push_back(candidate.status == Status::ok ? std::move(*next++)
                                                      : not_judgeable(candidate));
    return scores;
  }

 private:
  std::shared_ptr<Judge> judge_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("scorers/listwise", "1.0.0", registrar) {
  registrar.add<dt2it::Scorer, dt2it::ListwiseScorer>("listwise",
                                                      "One judge call for all candidates.");
}
