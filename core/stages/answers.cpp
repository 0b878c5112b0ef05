// SPDX-License-Identifier: Apache-2.0
// Best of n (paper section 4.5, Table 5): n answers to each question of a benchmark, and the grade of every one of them. Both
// are shared by all who pick.
#include <map>

#include "core/data/records.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/stages.hpp"
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
  stage.for_each_item("candidates.jsonl", questions.size(), [&](std::size_t i) {
    CandidateSet set;
    set.prompt = questions[i];
    draw_candidates(set, params.mllm, params.count,
                    {params.temperature, params.top_p, params.max_tokens}, "answers", stage);
    return to_line(set);
  });
  write_candidate_funnel(stage, questions.size(),
                         questions.size() * static_cast<std::size_t>(params.count), false);
}

struct GradeParams {
  std::string answers;
  std::string benchmark;

  static void describe(Schema<GradeParams>& schema) {
    schema
        .component<StageInputs>("answers", &GradeParams::answers, "Stage whose answers are graded.")
        .required();
    schema
        .component<AnswerBenchmark>("benchmark", &GradeParams::benchmark,
                                    "Benchmark that they were given to.")
        .required();
  }
};

void grade(const GradeParams& params, StageRun& stage) {
  const CandidateFile sets(stage.input(params.answers) / "candidates.jsonl");
  stage.for_each_item("grades.jsonl", sets.size(), [&](std::size_t i) {
    const CandidateSet set = sets.read(i);
    const auto benchmark = stage.context().component<AnswerBenchmark>(params.benchmark);
    std::vector<AnswerGrade> grades;
    for (const Response& response : set.candidates) {
      if (is_answer(response)) {
        grades.push_back(benchmark->grade(set.prompt, response));
        continue;
      }
      AnswerGrade& none = grades.emplace_back();
      none.status = response.status == Status::ok ? Status::unparsed : response.status;
      none.detail = "there is no answer to grade";
    }
    return grades_line(set.prompt.id, grades);
  });
  Funnel funnel;
  std::size_t all = 0, good = 0;
  std::map<std::string, std::size_t> failed;
  for (const auto& grades : read_grades(stage.output / "grades.jsonl"))
    for (const AnswerGrade& one : grades) {
      ++all;
      one.ok() ? ++good : ++failed[std::string(to_string(one.status))];
    }
  funnel.step("answers", all);
  funnel.step("graded", good);
  for (const auto& [reason, count] : failed) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace

StageType answers_stage() {
  return make_stage<AnswersParams>(
      "answers", "Draws n answers of an MLLM to each question of a benchmark (paper section 4.5).",
      "1", answer);
}

StageType grade_stage() {
  return make_stage<GradeParams>(
      "grade", "Has a benchmark grade every answer, so that whoever picks can be compared.", "1",
      grade);
}

}  // namespace dt2it
