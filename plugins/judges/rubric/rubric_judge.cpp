// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dt2it/judge.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "reply_parser.hpp"
#include "rubric_prompt.hpp"

namespace dt2it::rubric {
namespace {

// Asks an MLLM to grade responses by weighted criteria (paper section 3.1, appendix B).
// Thread-safe: only constant members.
class RubricJudge final : public Judge {
 public:
  struct Params {
    std::string mllm = "teacher";
    std::vector<std::string> criteria{"accuracy",         "helpfulness", "completeness",
                                      "language_quality", "creativity",  "ethics"};
    double temperature = 0;
    std::optional<std::int64_t> max_tokens;
    bool json_format = true;
    bool use_reference = true;
    bool system_message = true;
    int retries = 1;
  };

  static void describe(Schema<Params>& schema) {
    schema.component<Mllm>("mllm", &Params::mllm, "MLLM that judges.").argument();
    schema.field(
        "criteria", &Params::criteria,
        "What is graded: the six of the paper by name, or others as \"name: what to look at\".");
    schema.field("temperature", &Params::temperature, "Sampling temperature of the judge.")
        .min(0)
        .max(2);
    schema
        .field("max_tokens", &Params::max_tokens,
               "Longest reply, in tokens; not given: the model's own limit.")
        .min(1);
    schema.field(
        "json_format", &Params::json_format,
        "Ask the server for JSON in the reply's schema; the reply is read tolerantly either way.");
    schema.field("use_reference", &Params::use_reference,
                 "Show the prompt's reference answer to the judge.");
    schema.field("system_message", &Params::system_message,
                 "Put the rubric into a system message; false: at the head of the user message.");
    schema.field("retries", &Params::retries, "Further draws when a reply cannot be read.")
        .min(0)
        .max(10);
  }

  RubricJudge(const Params& params, Context& context)
      : params_(params),
        options_{make_criteria(params.criteria), params.use_reference, params.system_message},
        mllm_(context.component<Mllm>(params.mllm)) {}

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> responses) override {
    if (responses.empty()) return {};
    return ask(responses.size() == 1 ? Task::pointwise : Task::listwise, prompt, responses).scores;
  }

  Verdict compare(const Prompt& prompt, const Response& first, const Response& second) override {
    const std::vector<Response> pair{first, second};
    const ParsedReply reply = ask(Task::pairwise, prompt, pair);
    const Score& one = reply.scores[0];
    const Score& two = reply.scores[1];
    Verdict verdict;
    verdict.status = one.ok() ? two.status : one.status;
    verdict.detail = one.ok() ? two.detail : one.detail;
    verdict.reply = one.reply;
    if (one.ok()) verdict.first_score = one.overall;
    if (two.ok()) verdict.second_score = two.overall;
    if (!verdict.ok()) return verdict;
    // The scores decide, as they do for lists; the judge's own word is only checked against them.
    verdict.winner = one.overall > two.overall   ? Verdict::Winner::first
                     : one.overall < two.overall ? Verdict::Winner::second
                                                 : Verdict::Winner::tie;
    if (reply.better && *reply.better != verdict.winner)
      verdict.detail =
          fmt::format("the judge's word for the better one ({}) is not what its scores say",
                      *reply.better == Verdict::Winner::first    ? "1"
                      : *reply.better == Verdict::Winner::second ? "2"
                                                                 : "tie");
    return verdict;
  }

 private:
  // Draws until every response is readable, at most 1 + retries times; then the draw with the most
  // readable ones counts, the earliest of equals. Draws are never mixed: scores of one list belong
  // together.
  ParsedReply ask(Task task, const Prompt& prompt, std::span<const Response> responses) const {
    for (const Message& message : prompt.messages)
      for (const Part& part : message.content)
        if (part.kind != Part::Kind::text && !part.media.present())
          return nothing(responses.size(), Status::missing_media,
                         "the judge cannot see " +
                             (part.media.source.empty() ? "an image" : part.media.source));

    ChatRequest request;
    request.messages = judge_messages(task, prompt, responses, options_);
    request.sampling.temperature = params_.temperature;
    request.sampling.max_tokens = params_.max_tokens;
    request.purpose = task_name(task);
    if (params_.json_format) {
      request.format = ResponseFormat::json;
      request.json_schema = reply_schema(task, options_.criteria);
    }

    std::optional<ParsedReply> best;
    std::ptrdiff_t best_readable = -1;
    for (int draw = 0; draw <= params_.retries; ++draw) {
      request.sampling.sample = draw;
      const ChatReply answer = mllm_->chat(request);
      ParsedReply reply =
          answer.status == Status::ok
              ? parse_reply(answer.text, answer.finish_reason, responses.size(), options_.criteria)
              : nothing(responses.size(), answer.status,
                        answer.detail.empty() ? "the judge gave no answer" : answer.detail);
      for (Score& score : reply.scores) score.reply = answer.text;
      const auto with = [&](Status status) {
        return std::count_if(reply.scores.begin(), reply.scores.end(),
                             [&](const Score& score) { return score.status == status; });
      };
      const bool again = with(Status::unparsed) > 0;
      if (with(Status::ok) > best_readable) {
        best_readable = with(Status::ok);
        best = std::move(reply);
      }
      if (!again) break;
    }
    return std::move(*best);
  }

  static ParsedReply nothing(std::size_t count, Status status, const std::string& detail) {
    ParsedReply reply;
    reply.scores.resize(count);
    for (Score& score : reply.scores) {
      score.status = status;
      score.detail = detail;
    }
    return reply;
  }

  Params params_;
  PromptOptions options_;
  std::shared_ptr<Mllm> mllm_;
};

}  // namespace
}  // namespace dt2it::rubric

DT2IT_PLUGIN("judges/rubric", "1.0.0", registrar) {
  registrar.add<dt2it::Judge, dt2it::rubric::RubricJudge>(
      "rubric",
      "An MLLM that grades responses by weighted criteria, in a list, one by one or in pairs.");
}
