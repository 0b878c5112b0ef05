// SPDX-License-Identifier: Apache-2.0
#include "dt2it/judge.hpp"

#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/verdict_model.hpp"
#include "plugins/common/concurrent.hpp"

namespace dt2it {
namespace {

// A generative judge as a reward model, as the baselines of the paper's Tables 2-4 are used. An
// answer that failed keeps its status and gets no reward.
class JudgeRewardModel final : public RewardModel, public VerdictModel {
 public:
  struct Params {
    std::string judge;
    std::string mode = "listwise";
    int workers = 16;
    static void describe(Schema<Params>& schema) {
      schema.component<Judge>("judge", &Params::judge, "The [judges.*] table to ask.")
          .required()
          .argument();
      schema
          .field("mode", &Params::mode,
                 "listwise: all responses in one question, the reward is the overall score; "
                 "pointwise: one "
                 "question each; compare: each two in both orders, the reward is the share of "
                 "comparisons won "
                 "(a tie is half), so that a judge which only likes a position gives a tie.")
          .choices({"listwise", "pointwise", "compare"});
      schema.field("workers", &Params::workers, "Prompts that are asked about at the same time.")
          .min(1)
          .max(256);
    }
  };

  JudgeRewardModel(const Params& params, Context& context)
      : judge_(context.component<Judge>(params.judge)),
        mode_(params.mode),
        workers_(params.workers) {}

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    return all<std::vector<Reward>>(requests,
                                    [this](const RewardRequest& request) { return ask(request); });
  }

  bool gives_verdicts() const override { return mode_ == "compare"; }

  // In both orders, as rewards() asks.
  std::vector<std::vector<ShownVerdict>> verdicts(
      std::span<const RewardRequest> requests) override {
    return all<std::vector<ShownVerdict>>(requests, [this](const RewardRequest& request) {
      std::vector<ShownVerdict> both;
      for (const std::size_t first : {0, 1})
        both.push_back({{first, 1 - first},
                        "",
                        judge_->compare(*request.prompt, request.responses[first],
                                        request.responses[1 - first])});
      return both;
    });
  }

  std::size_t batch_size() const override {
    return std::max<std::size_t>(64, static_cast<std::size_t>(4 * workers_));
  }

 private:
  // Asks about all requests, so many at the same time.
  template <class Result, class Ask>
  std::vector<Result> all(std::span<const RewardRequest> requests, const Ask& ask_one) {
    std::vector<Result> result(requests.size());
    concurrently(requests.size(), workers_,
                 [&](std::size_t i) { result[i] = ask_one(requests[i]); });
    return result;
  }

  std::vector<Reward> ask(const RewardRequest& request) {
    if (mode_ == "compare") return compare(request);
    std::vector<Score> scores;
    if (mode_ == "listwise") {
      scores = judge_->score(*request.prompt, request.responses);
    } else {
      for (std::size_t i = 0; i < request.responses.size(); ++i)
        for (Score& score : judge_->score(*request.prompt, request.responses.subspan(i, 1)))
          scores.push_back(std::move(score));
    }
    if (scores.size() != request.responses.size())
      throw PluginError("the judge gave " + std::to_string(scores.size()) + " scores for " +
                        std::to_string(request.responses.size()) + " responses");
    std::vector<Reward> rewards;
    for (const Score& score : scores)
      rewards.push_back(score.ok() ? Reward{Status::ok, score.overall} : Reward{score.status});
    return rewards;
  }

  std::vector<Reward> compare(const RewardRequest& request) {
    const auto responses = request.responses;
    std::vector<Reward> rewards(responses.size(), Reward{Status::ok, 0});
    if (responses.size() < 2)
      return std::vector<Reward>(responses.size());  // nothing to compare with
    for (std::size_t i = 0; i < responses.size(); ++i)
      for (std::size_t j = 0; j < responses.size(); ++j) {
        if (i == j) continue;
        const Verdict verdict = judge_->compare(*request.prompt, responses[i], responses[j]);
        if (!verdict.ok()) {
          for (std::size_t k : {i, j})
            if (rewards[k].ok()) rewards[k] = Reward{verdict.status};
          continue;
        }
        const double first = verdict.winner == Verdict::Winner::first    ? 1
                             : verdict.winner == Verdict::Winner::second ? 0
                                                                         : 0.5;
        rewards[i].value += first;
        rewards[j].value += 1 - first;
      }
    for (Reward& reward : rewards) reward.value /= static_cast<double>(2 * (responses.size() - 1));
    return rewards;
  }

  const std::shared_ptr<Judge> judge_;
  const std::string mode_;
  const int workers_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/judge", "1.1.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::JudgeRewardModel>(
      "judge",
      "A generative judge as a reward model: its scores, or its comparisons in both orders.");
}
