// SPDX-License-Identifier: Apache-2.0
// Offline reinforcement learning with a reward model (paper section 4.5, Table 6): it tells the best from the worst of several
// answers of a policy, the policy is trained on these pairs (DPO), and answers benchmarks before and after.
#include <fmt/format.h>

#include "core/stages/expansion.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/answer_benchmark.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it {
namespace {

// The header of Backbone needs LibTorch, which the host does not have.
struct Backbones {
  static constexpr const char* kKind = "backbones";
};

struct OfflineRlParams {
  std::string prompts;
  std::string policy;
  std::string trained_policy;
  std::string trained_backbone;
  std::string reward_model;
  std::string trainer;
  std::string truth = "true_labels";
  std::vector<std::string> benchmarks;
  std::int64_t count = 8;
  double temperature = 0.9;
  double top_p = 1;
  std::int64_t max_tokens = 1024;
  double min_gap = 0;
  std::int64_t test_count = 4;

  static void describe(Schema<OfflineRlParams>& schema) {
    using P = OfflineRlParams;
    schema
        .component<Dataset>("prompts", &P::prompts, "Prompts that the policy answers for training.")
        .required();
    schema.component<Mllm>("policy", &P::policy, "The policy before training.").required();
    schema.component<Mllm>("trained_policy", &P::trained_policy, "The policy after training.")
        .required();
    schema.component<Backbones>("trained_backbone", &P::trained_backbone,
                                "Backbone of trained_policy: its checkpoint is set to the result "
                                "of the training. None: a server offers it, "
                                "which is started by hand when the training is done.");
    schema
        .component<RewardModel>("reward_model", &P::reward_model,
                                "Reward model that tells the best from the worst.")
        .required();
    schema.component<Trainer>("trainer", &P::trainer, "Trainer of the policy.").required();
    schema.component<Curator>(
        "truth", &P::truth,
        "Curator that knows the truth, by which the pairs are audited; none: they are not.");
    schema
        .component<AnswerBenchmark>("benchmarks", &P::benchmarks,
                                    "Benchmarks that are answered before and after.")
        .required();
    schema.field("count", &P::count, "Answers to each training prompt.").min(2).max(4096);
    schema.field("temperature", &P::temperature, "Sampling temperature, in training and test.")
        .min(0)
        .max(2);
    schema.field("top_p", &P::top_p, "Nucleus sampling, likewise.").min(0).max(1);
    schema.field("max_tokens", &P::max_tokens, "Longest answer in tokens, likewise.").min(1);
    schema.field("min_gap", &P::min_gap, "The best must be ahead of the worst by more than this.")
        .min(0);
    schema
        .field("test_count", &P::test_count,
               "Answers to each question of a benchmark; figures are means over them.")
        .min(1)
        .max(4096);
  }
};

std::vector<StageConfig> expand(const OfflineRlParams& params, const StageConfig& config,
                                const Experiment& experiment) {
  Expansion parts(config);
  const std::string prompts = parts.add("prompts", "collect", {{"dataset", {params.prompts}}});
  const std::string answers = parts.add("answers", "candidates",
                                        {{"prompts", {prompts}},
                                         {"pool", names({params.policy})},
                                         {"count", {params.count}},
                                         {"temperature", {params.temperature}},
                                         {"top_p", {params.top_p}},
                                         {"max_tokens", {params.max_tokens}}});
  const std::string rewards = parts.add(
      "rewards", "reward", {{"candidates", {answers}}, {"reward_model", {params.reward_model}}});
  const std::string pairs =
      parts.add("pairs", "prefer",
                {{"candidates", {answers}}, {"rewards", {rewards}}, {"min_gap", {params.min_gap}}});
  if (!params.truth.empty())
    parts.add("noise", "audit", {{"pairs", names({pairs})}, {"curator", {params.truth}}});
  const std::string dpo =
      parts.add("dpo", "train", {{"pairs", names({pairs})}, {"trainer", {params.trainer}}});
  const auto test = [&](const std::string& mllm, bool after) {
    Table table{{"mllm", {mllm}},
                {"benchmarks", names(params.benchmarks)},
                {"count", {params.test_count}},
                {"temperature", {params.temperature}},
                {"top_p", {params.top_p}},
                {"max_tokens", {params.max_tokens}}};
    if (after) table["after"] = names({dpo});
    return table;
  };
  parts.add("before", "best_of_n", test(params.policy, false));
  std::vector<ComponentConfig> with;
  if (!params.trained_backbone.empty()) {
    const ComponentConfig* base = experiment.component(Backbones::kKind, params.trained_backbone);
    for (const ComponentConfig& own : config.with)
      if (own.kind == Backbones::kKind && own.name == params.trained_backbone) base = &own;
    if (!base)
      throw ConfigError(fmt::format("{}:{}:{}: no [backbones.{}] is defined", config.where.file,
                                    config.where.line, config.where.column,
                                    params.trained_backbone));
    with.push_back(*base);
    with.back().params["checkpoint"] = {"stage:" + dpo};
  }
  parts.finish("best_of_n", test(params.trained_policy, true), with);
  return std::move(parts).stages();
}

}  // namespace

StageType offline_rl_stage() {
  return make_composite<OfflineRlParams>(
      "offline_rl",
      "Offline reinforcement learning (paper section 4.5). Expands into collect, candidates, "
      "reward, prefer, audit, train, and best_of_n "
      "before and after.",
      expand);
}

}  // namespace dt2it
