// SPDX-License-Identifier: Apache-2.0
#pragma once

// Contract suite of answer_benchmarks, and a fake.

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/answer_benchmark.hpp"
#include "dt2it/testing/contract_checks.hpp"
#include "dt2it/testing/fakes.hpp"

namespace dt2it::testing {

// Grades each answer by a function of it; NaN: unparsed. The only metric is the weighted mean.
class FakeAnswerBenchmark final : public AnswerBenchmark {
 public:
  using Function = std::function<double(const Prompt&, const Response&)>;
  FakeAnswerBenchmark(std::vector<Prompt> questions, Function function)
      : questions_(std::move(questions)), function_(std::move(function)) {}
  std::unique_ptr<Stream<Prompt>> questions() override {
    return std::make_unique<VectorStream<Prompt>>(questions_);
  }
  AnswerGrade grade(const Prompt& question, const Response& answer) override {
    AnswerGrade grade;
    grade.score = function_(question, answer);
    grade.status = std::isnan(grade.score) ? Status::unparsed : Status::ok;
    if (!grade.ok()) grade.detail = "as the test says";
    return grade;
  }
  std::vector<Metric> summarise(std::span<const Prompt>,
                                std::span<const AnswerGrade> grades) override {
    double sum = 0, weights = 0;
    for (const AnswerGrade& grade : grades)
      if (grade.ok()) sum += grade.weight * grade.score, weights += grade.weight;
    return {{"score", weights > 0 ? sum / weights : 0, {}, {}}};
  }
  std::string edition(std::size_t) override { return "a list"; }

 private:
  std::vector<Prompt> questions_;
  Function function_;
};

// `good` and `poor` answer the first question, and are graded in that order.
inline void check_answer_benchmark_contract(AnswerBenchmark& benchmark, const Response& good,
                                            const Response& poor) {
  const std::vector<Prompt> questions = drain(*benchmark.questions());
  REQUIRE_FALSE(questions.empty());
  CHECK(drain(*benchmark.questions()) == questions);
  CHECK_FALSE(benchmark.edition(questions.size()).empty());
  CHECK_FALSE(benchmark.edition(questions.size() + 1).empty());
  for (const Prompt& question : questions) {
    REQUIRE_FALSE(question.messages.empty());
    CHECK(question.messages.back().role == Message::Role::user);
  }
  const AnswerGrade better = benchmark.grade(questions[0], good),
                    worse = benchmark.grade(questions[0], poor);
  REQUIRE(better.ok());
  REQUIRE(worse.ok());
  CHECK(std::isfinite(better.score));
  CHECK(better.score > worse.score);
  CHECK(same(benchmark.grade(questions[0], good), better));
  check_from_threads<AnswerGrade>([&] { return benchmark.grade(questions[0], good); }, better);

  Response absent = good;
  absent.status = Status::unavailable;
  absent.text.clear();
  AnswerGrade none;
  REQUIRE_NOTHROW(none = benchmark.grade(questions[0], absent));
  CHECK_FALSE(none.ok());
  CHECK_FALSE(none.detail.empty());

  const auto headline = [&](std::vector<AnswerGrade> grades) {
    const std::vector<Metric> metrics = benchmark.summarise(questions, grades);
    REQUIRE_FALSE(metrics.empty());
    CHECK_FALSE(metrics[0].name.empty());
    return metrics[0].value;
  };
  INFO("a blind pick lies between a good and a poor one, and weights may be split");
  const double high = headline({better}), low = headline({worse});
  AnswerGrade half_good = better, half_poor = worse;
  half_good.weight = half_poor.weight = .5;
  const double middle = headline({half_good, half_poor});
  CHECK(high > low);
  CHECK(middle > low);
  CHECK(middle < high);
  CHECK(headline({half_good, half_good}) == Approx(high));
  INFO("without any grade nothing throws");
  CHECK_NOTHROW(benchmark.summarise(questions, std::vector<AnswerGrade>{}));
}

}  // namespace dt2it::testing
