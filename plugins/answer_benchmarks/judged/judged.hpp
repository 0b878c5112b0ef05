// SPDX-License-Identifier: Apache-2.0
#pragma once

// What benchmarks share whose answers an MLLM grades: the call, the record of it, weighted sums.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dt2it/answer_benchmark.hpp"
#include "dt2it/context.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/params.hpp"

namespace dt2it::answers {

struct JudgedParams {
  std::filesystem::path data;
  std::string judge;
  double temperature = 0;
  std::int64_t max_tokens = 1024;

  template <class P>
  static void describe_as(Schema<P>& schema, const std::string& data_help) {
    // Inherited members, as members of P.
    schema.field("data", static_cast<std::filesystem::path P::*>(&P::data), data_help)
        .required()
        .argument();
    schema
        .template component<Mllm>(
            "judge", static_cast<std::string P::*>(&P::judge),
            "MLLM that grades. Figures under different judges cannot be compared.")
        .required();
    schema.field("temperature", static_cast<double P::*>(&P::temperature), "Of the judge.")
        .min(0)
        .max(2);
    schema
        .field("max_tokens", static_cast<std::int64_t P::*>(&P::max_tokens),
               "Longest reply of the judge in tokens.")
        .min(1);
  }
};

// A mark of a grade whose reply came but could not be read: the published scripts give it figures of their own.
inline constexpr const char* kUnread = "unread";

// Asks once and takes down who, how and what came. `grade` gets the status of the call.
ChatReply ask(Mllm& judge, const std::string& name, std::vector<Part> content,
              const Sampling& sampling, AnswerGrade& grade);
// The reply came but says no score in the form that was asked for.
void set_unread(AnswerGrade& grade, const std::string& why);
// The answer itself is absent; nothing is asked.
std::optional<AnswerGrade> without_answer(const Response& answer);

void set_score(AnswerGrade& grade, double score);

// "8 9.5" on the first line, commas allowed: reference, candidate. Anything else: none.
std::optional<std::pair<double, double>> two_scores(std::string_view reply);
// The grade of a reply that should say two scores.
void take_two_scores(AnswerGrade& grade, const ChatReply& reply);

// The words of a question, without its pictures.
std::string asked_text(const Prompt& question);

struct Mean {
  double sum = 0, weight = 0;
  void add(double value, double times) { sum += times * value, weight += times; }
  double value() const;  // NaN of nothing
};

// The questions of a vector.
std::unique_ptr<Stream<Prompt>> stream_of(const std::vector<Prompt>& questions);

// Of a JSON object text; empty where there is no such member.
std::string text_member(std::string_view json, std::string_view key);

// LLaVA-in-the-Wild and LLaVA-Wilder: 100 * mean(candidate) / mean(reference) as a fraction, of all and by category. Unread
// replies are -1 for both and stay in the means, as in the published script; score_read is without them.
std::vector<Metric> ratio_metrics(std::span<const Prompt> questions,
                                  std::span<const AnswerGrade> grades);
// Unread and failed, appended where there are any.
void append_health(std::vector<Metric>& metrics, std::span<const AnswerGrade> grades);

}  // namespace dt2it::answers
