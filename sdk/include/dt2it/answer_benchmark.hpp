// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// What a benchmark makes of one answer.
struct AnswerGrade {
  std::size_t row = 0;  // of the question in questions(); set by the host
  // How likely this answer is to be the one that counts for its question; those of a question sum to 1 at most. Set by
  // the host: 1 for the answer that was picked, 1/n for each of n when one is picked blindly.
  double weight = 1;
  Status status = Status::invalid;  // ok: `score` is there
  double score =
      std::numeric_limits<double>::quiet_NaN();  // on the benchmark's own scale; higher is better
  double reference_score =
      0;  // what the same reply gives the reference answer, where it is asked for
  std::map<std::string, double> marks;  // further figures of this answer
  std::string judge;                    // the [mllms.*] component that was asked; empty: nobody was
  std::string model;                    // as its server named itself
  std::optional<double> temperature;    // that the judge was asked with
  std::vector<std::string> replies;     // raw, in the order asked
  std::string detail;                   // why the status is not ok
  bool ok() const { return status == Status::ok; }
};

// A benchmark of written answers: its questions, how an answer is graded, its metrics. Never sees the model, nor which
// answer was picked by whom.
class DT2IT_API AnswerBenchmark {
 public:
  static constexpr const char* kKind = "answer_benchmarks";
  virtual ~AnswerBenchmark() = default;

  // In the published order. What grade() needs besides question and reference is in `extra`, which models never see.
  virtual std::unique_ptr<Stream<Prompt>> questions() = 0;

  // Thread-safe. `question` is one of questions(). A judge that cannot be reached or read is a status, never a score.
  virtual AnswerGrade grade(const Prompt& question, const Response& answer) = 0;

  // The published metrics, the headline first, from weighted sums. Grades come in the order of their rows; a question
  // may have several, or none. A reply that could not be read counts as the published script counts it, and is told.
  virtual std::vector<Metric> summarise(std::span<const Prompt> questions,
                                        std::span<const AnswerGrade> grades) = 0;

  // The name of the edition with so many questions, or a sentence that says what was found instead.
  virtual std::string edition(std::size_t questions) = 0;
};

}  // namespace dt2it
