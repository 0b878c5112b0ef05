// SPDX-License-Identifier: Apache-2.0
// Best of n (paper section 4.5, Table 5): the grade of every answer to the questions of a benchmark, shared by all who pick.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/planned_pairs.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/answer_benchmark.hpp"

namespace dt2it {
namespace {

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
  const CandidateFile sets(stage.input(params.answers) / layout::kCandidates);
  stage.for_each_item(layout::kGrades, sets.size(), [&](std::size_t i) {
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
  for (const auto& grades : read_grades(stage.output / layout::kGrades))
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

StageType grade_stage() {
  return make_stage<GradeParams>(
      "grade", "Has a benchmark grade every answer, so that whoever picks can be compared.", "1",
      grade);
}

VolumeOutput grade_volume(VolumeForecast& forecast) {
  const auto params = forecast.params<GradeParams>();
  const VolumeOutput& answers = forecast.input(params.answers);
  if (const ComponentConfig* benchmark =
          forecast.component(AnswerBenchmark::kKind, params.benchmark))
    forecast.ask(text_of(benchmark->params, "judge"),
                 answers.candidates * static_cast<double>(integer_of(benchmark->params, "runs", 1)),
                 forecast.fact("grading_tokens") + 2 * forecast.fact("answer_tokens"),
                 std::min(forecast.fact("judgement_tokens"),
                          number_of(benchmark->params, "max_tokens", 1e9)));
  forecast.makes(answers.candidates, 500, "grades");
  return answers;
}

}  // namespace dt2it
