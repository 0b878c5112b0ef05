// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/answer_benchmarks/judged/judged.hpp"
#include "plugins/common/mini_world/quality.hpp"
#include "plugins/common/mini_world/truth.hpp"

namespace dt2it::answers {
namespace {

constexpr const char* kRight = "right";

// Drawn questions, graded by their truth: no judge, no noise.
class MiniWorldAnswers final : public AnswerBenchmark {
 public:
  struct Params {
    std::string dataset;
    std::vector<std::string> domains;
    static void describe(Schema<Params>& schema) {
      schema.component<Dataset>("dataset", &Params::dataset, "Prompts of datasets/mini_world.")
          .required();
      schema.field("domains", &Params::domains, "Only questions of these domains; none: all.")
          .choices({"visual_understanding", "reasoning", "safety"});
    }
  };

  MiniWorldAnswers(const Params& params, Context& context) : params_(params), context_(context) {}

  std::unique_ptr<Stream<Prompt>> questions() override {
    std::vector<Prompt> questions;
    const auto stream = context_.component<Dataset>(params_.dataset)->prompts();
    for (Prompt prompt; stream->next(prompt);)
      if (params_.domains.empty() ||
          std::ranges::find(params_.domains, prompt.domain) != params_.domains.end())
        questions.push_back(std::move(prompt));
    return stream_of(questions);
  }

  AnswerGrade grade(const Prompt& question, const Response& answer) override {
    if (auto none = without_answer(answer)) return *none;
    std::string asked;
    for (const Part& part : question.messages.back().content)
      if (part.kind == Part::Kind::text) asked += part.text;
    const auto truth = mini_world::read_truth(question.extra);
    const auto parsed = mini_world::parse_question(asked);
    if (!truth || !parsed)
      throw DataError("answer_benchmarks/mini_world: question '" + question.id +
                      "' is not of the mini world");
    const mini_world::Quality quality = mini_world::grade(*parsed, truth->scenes, answer.text);
    AnswerGrade grade;
    grade.status = Status::ok;
    grade.score = quality.overall;
    grade.marks[kRight] = quality.right ? 1 : 0;
    return grade;
  }

  std::vector<Metric> summarise(std::span<const Prompt> questions,
                                std::span<const AnswerGrade> grades) override {
    Mean quality, right;
    std::map<std::string, Mean> domains;
    for (const AnswerGrade& grade : grades) {
      if (!grade.ok()) continue;
      const double is_right = grade.marks.at(kRight);
      quality.add(grade.score / 10, grade.weight);
      right.add(is_right, grade.weight);
      domains[questions[grade.row].domain].add(is_right, grade.weight);
    }
    std::vector<Metric> metrics{{"score", quality.value(), {}, {}},
                                {"accuracy", right.value(), {}, {}}};
    for (const auto& [name, mean] : domains)
      metrics.push_back({"accuracy/" + name, mean.value(), {}, {}});
    append_health(metrics, grades);
    return metrics;
  }

  std::string edition(std::size_t questions) override {
    return "the mini world, " + std::to_string(questions) + " questions, graded by the truth";
  }

 private:
  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it::answers

DT2IT_PLUGIN("answer_benchmarks/mini_world", "1.0.0", registrar) {
  registrar.add<dt2it::AnswerBenchmark, dt2it::answers::MiniWorldAnswers>(
      "mini_world",
      "Drawn questions whose answers are graded by the known truth: quality and accuracy.");
}
