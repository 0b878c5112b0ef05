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

// Shows each candidate on its own, so that no place in a list can favour it (paper section 3.1,
// step 5). Thread-safe.
class PointwiseScorer final : public Scorer {
 public:
  struct Params {
    std::string judge = "teacher";
  };
  static void describe(Schema<Params>& schema) {
    schema.component<Judge>("judge", &Params::judge, "Judge to ask.").argument();
  }
  PointwiseScorer(const Params& params, Context& context)
      : judge_(context.component<Judge>(params.judge)) {}

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> candidates) override {
    std::vector<Score> scores;
    for (const Response& candidate : candidates) {
      if (candidate.status != Status::ok) {
        scores.push_back(not_judgeable(candidate));
        continue;
      }
      std::vector<Score> given = judge_->score(prompt, {&candidate, 1});
      if (given.size() != 1)
        throw PluginError("the judge gave " + std::to_string(given.size()) +
                          " scores for 1 response");
      scores.push_back(std::move(given.front()));
    }
    return scores;
  }

 private:
  std::shared_ptr<Judge> judge_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("scorers/pointwise", "1.0.0", registrar) {
  registrar.add<dt2it::Scorer, dt2it::PointwiseScorer>("pointwise",
                                                       "One judge call per candidate.");
}
