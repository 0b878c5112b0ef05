// SPDX-License-Identifier: Apache-2.0
// Best of n (paper section 4.5, Table 5): n answers to each question, graded, a reward model that picks, and figures.
#include <string>
#include <utility>
#include <vector>

#include "core/stages/expansion.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/answer_benchmark.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

struct BestOfNParams {
  std::string mllm;
  std::vector<std::string> benchmarks;
  std::string reward_model;
  std::int64_t count = 4;
  double temperature = 0.9;
  double top_p = 1;
  std::int64_t max_tokens = 1024;
  std::vector<std::string> after;

  static void describe(Schema<BestOfNParams>& schema) {
    schema.component<Mllm>("mllm", &BestOfNParams::mllm, "MLLM that answers.").required();
    schema
        .component<AnswerBenchmark>("benchmarks", &BestOfNParams::benchmarks,
                                    "Benchmarks whose questions it answers.")
        .required();
    schema.component<RewardModel>("reward_model", &BestOfNParams::reward_model,
                                  "Reward model that picks; none: only the reference lines.");
    schema.field("count", &BestOfNParams::count, "n: answers to each question.").min(1).max(4096);
    schema.field("temperature", &BestOfNParams::temperature, "Sampling temperature.").min(0).max(2);
    schema.field("top_p", &BestOfNParams::top_p, "Nucleus sampling.").min(0).max(1);
    schema.field("max_tokens", &BestOfNParams::max_tokens, "Longest answer in tokens.").min(1);
    schema.component<StageInputs>("after", &BestOfNParams::after, "As in the stage answers.");
  }
};

std::vector<StageConfig> expand(const BestOfNParams& params, const StageConfig& config,
                                const Experiment&) {
  Expansion parts(config);
  std::vector<std::string> answers, grades, rewards;
  for (const std::string& benchmark : params.benchmarks) {
    answers.push_back(parts.add("answers_" + benchmark, "answers",
                                {{"benchmark", {benchmark}},
                                 {"mllm", {params.mllm}},
                                 {"count", {params.count}},
                                 {"temperature", {params.temperature}},
                                 {"top_p", {params.top_p}},
                                 {"max_tokens", {params.max_tokens}},
                                 {"after", names(params.after)}}));
    grades.push_back(parts.add("grades_" + benchmark, "grade",
                               {{"answers", {answers.back()}}, {"benchmark", {benchmark}}}));
    if (!params.reward_model.empty())
      rewards.push_back(
          parts.add("rewards_" + benchmark, "reward",
                    {{"candidates", {answers.back()}}, {"reward_model", {params.reward_model}}}));
  }
  parts.finish("answer_table", {{"benchmarks", names(params.benchmarks)},
                                {"answers", names(answers)},
                                {"grades", names(grades)},
                                {"rewards", names(rewards)},
                                {"mllm", {params.mllm}},
                                {"reward_model", {params.reward_model}}});
  return std::move(parts).stages();
}

}  // namespace

StageType best_of_n_stage() {
  return make_composite<BestOfNParams>("best_of_n",
                                       "Best of n (paper section 4.5). Expands into answers, "
                                       "grade, reward for each benchmark, and answer_table.",
                                       expand);
}

}  // namespace dt2it
