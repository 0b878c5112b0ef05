// SPDX-License-Identifier: Apache-2.0
// Best of n (paper section 4.5, Table 5): n answers to each question of a benchmark, shared by all who pick.
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/answer_benchmark.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct AnswersParams {
  std::string benchmark;
  std::string mllm;
  std::int64_t count = 4;
  double temperature = 0.9;
  double top_p = 1;
  std::int64_t max_tokens = 1024;
  std::vector<std::string> after;

  static void describe(Schema<AnswersParams>& schema) {
    schema
        .component<AnswerBenchmark>("benchmark", &AnswersParams::benchmark,
                                    "Benchmark whose questions are asked.")
        .required();
    schema.component<Mllm>("mllm", &AnswersParams::mllm, "MLLM that answers.").required();
    schema.field("count", &AnswersParams::count, "n: answers to each question.").min(1).max(4096);
    schema.field("temperature", &AnswersParams::temperature, "Sampling temperature.").min(0).max(2);
    schema.field("top_p", &AnswersParams::top_p, "Nucleus sampling.").min(0).max(1);
    schema.field("max_tokens", &AnswersParams::max_tokens, "Longest answer in tokens.").min(1);
    schema.component<StageInputs>("after", &AnswersParams::after,
                                  "Stages that the MLLM depends on though its parameters do not "
                                  "say so: the training of a model that a "
                                  "server then offers.");
  }
};

void answer(const AnswersParams& params, StageRun& stage) {
  std::vector<Prompt> questions;
  const auto stream = stage.context().component<AnswerBenchmark>(params.benchmark)->questions();
  for (Prompt question; stream->next(question);) questions.push_back(std::move(question));
  if (questions.empty())
    throw DataError("the benchmark '" + params.benchmark + "' has no questions");
  stage.for_each_item(layout::kCandidates, questions.size(), [&](std::size_t i) {
    CandidateSet set;
    set.prompt = questions[i];
    draw_candidates(set, params.mllm, params.count,
                    {params.temperature, params.top_p, params.max_tokens}, "answers", stage);
    return to_line(set);
  });
  write_candidate_funnel(stage, questions.size(),
                         questions.size() * static_cast<std::size_t>(params.count), false);
}

}  // namespace

StageType answers_stage() {
  return make_stage<AnswersParams>(
      "answers", "Draws n answers of an MLLM to each question of a benchmark (paper section 4.5).",
      "1", answer);
}

VolumeOutput answers_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<AnswersParams>();
  VolumeOutput output;
  output.questions = output.prompts = forecast.fact("questions." + params.benchmark);
  output.candidates = output.prompts * static_cast<double>(params.count);
  forecast.ask(params.mllm, output.candidates,
               forecast.fact("prompt_tokens") + forecast.fact("image_tokens"),
               forecast.fact("answer_tokens"));
  forecast.makes(output.candidates, forecast.fact("bytes_per_record"), "answers");
  return output;
}

}  // namespace dt2it
