// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
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
    int repeats = 1;
    bool both_orders = false;
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
    schema
        .field("repeats", &Params::repeats,
               "How often the judge is asked the same: scores are means over the readable draws, "
               "comparisons "
               "go by majority. The draws stand in the detail, as JSON.")
        .min(1)
        .max(99);
    schema.field(
        "both_orders", &Params::both_orders,
        "Comparisons are asked in both orders; where the judge goes by the place it is a tie.");
  }

  RubricJudge(const Params& params, Context& context)
      : params_(params),
        options_{make_criteria(params.criteria), params.use_reference, params.system_message},
        mllm_(context.component<Mllm>(params.mllm)) {}

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> responses) override {
    if (responses.empty()) return {};
    const Task task = responses.size() == 1 ? Task::pointwise : Task::listwise;
    std::vector<std::vector<Score>> draws;
    for (int repeat = 0; repeat < params_.repeats; ++repeat)
      draws.push_back(ask(task, prompt, responses, repeat).scores);
    if (draws.size() == 1) return std::move(draws[0]);
    std::vector<Score> scores;
    for (std::size_t i = 0; i < responses.size(); ++i) scores.push_back(mean_of(draws, i));
    return scores;
  }

  Verdict compare(const Prompt& prompt, const Response& first, const Response& second) override {
    std::vector<Verdict> votes;
    for (int repeat = 0; repeat < params_.repeats; ++repeat) {
      Verdict vote = compare_once(prompt, first, second, repeat);
      if (params_.both_orders && vote.ok())
        vote = joined(vote, compare_once(prompt, second, first, repeat));
      votes.push_back(std::move(vote));
    }
    return votes.size() == 1 ? votes[0] : majority_of(votes);
  }

 private:
  Verdict compare_once(const Prompt& prompt, const Response& first, const Response& second,
                       int repeat) const {
    const std::vector<Response> pair{first, second};
    const ParsedReply reply = ask(Task::pairwise, prompt, pair, repeat);
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

  // Of a comparison and the same one with the responses swapped.
  static Verdict joined(Verdict verdict, const Verdict& swapped) {
    if (!swapped.ok()) {
      verdict.status = swapped.status;
      verdict.detail = "in the other order: " + swapped.detail;
      return verdict;
    }
    const double first = (*verdict.first_score + *swapped.second_score) / 2;
    const double second = (*verdict.second_score + *swapped.first_score) / 2;
    verdict.first_score = first;
    verdict.second_score = second;
    verdict.reply += "\n\n--- in the other order ---\n" + swapped.reply;
    const Verdict::Winner back = swapped.winner == Verdict::Winner::first ? Verdict::Winner::second
                                 : swapped.winner == Verdict::Winner::second
                                     ? Verdict::Winner::first
                                     : Verdict::Winner::tie;
    if (back != verdict.winner) {
      verdict.detail =
          fmt::format("the orders disagree: {} and {}", name_of(verdict.winner), name_of(back));
      verdict.winner = Verdict::Winner::tie;
    }
    return verdict;
  }

  static const char* name_of(Verdict::Winner winner) {
    return winner == Verdict::Winner::first    ? "first"
           : winner == Verdict::Winner::second ? "second"
                                               : "tie";
  }

  // More than half of the votes that could be read; else a tie. Without any, the first one's trouble.
  static Verdict majority_of(const std::vector<Verdict>& votes) {
    std::size_t first = 0, second = 0, readable = 0;
    double first_sum = 0, second_sum = 0;
    const Verdict* shown = nullptr;
    for (const Verdict& vote : votes) {
      if (!vote.ok()) continue;
      if (!shown) shown = &vote;
      ++readable;
      first += vote.winner == Verdict::Winner::first;
      second += vote.winner == Verdict::Winner::second;
      first_sum += *vote.first_score;
      second_sum += *vote.second_score;
    }
    if (!shown) return votes[0];
    Verdict verdict = *shown;
    verdict.winner = 2 * first > readable    ? Verdict::Winner::first
                     : 2 * second > readable ? Verdict::Winner::second
                                             : Verdict::Winner::tie;
    verdict.first_score = first_sum / static_cast<double>(readable);
    verdict.second_score = second_sum / static_cast<double>(readable);
    verdict.detail = fmt::format(R"({{"votes":{{"first":{},"second":{},"tie":{}}},"unread":{}}})",
                                 first, second, readable - first - second, votes.size() - readable);
    return verdict;
  }

  // Of one response over all draws that could be read. Criteria are those of the first such draw.
  static Score mean_of(const std::vector<std::vector<Score>>& draws, std::size_t response) {
    const Score* shown = nullptr;
    double sum = 0;
    std::vector<double> read;
    for (const std::vector<Score>& draw : draws) {
      const Score& score = draw[response];
      if (!score.ok()) continue;
      if (!shown) shown = &score;
      sum += score.overall;
      read.push_back(score.overall);
    }
    if (!shown) return draws[0][response];
    Score score = *shown;
    score.overall = std::round(sum / static_cast<double>(read.size()) * 1e6) / 1e6;
    score.detail = fmt::format(R"({{"draws":[{}],"unread":{}}})", fmt::join(read, ","),
                               draws.size() - read.size());
    return score;
  }

  // Draws until every response is readable, at most 1 + retries times; then the draw with the most
  // readable ones counts, the earliest of equals. Draws are never mixed: scores of one list belong
  // together.
  ParsedReply ask(Task task, const Prompt& prompt, std::span<const Response> responses,
                  int repeat) const {
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
      request.sampling.sample = repeat * (params_.retries + 1) + draw;
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

DT2IT_PLUGIN("judges/rubric", "1.3.0", registrar) {
  registrar.add<dt2it::Judge, dt2it::rubric::RubricJudge>(
      "rubric",
      "An MLLM that grades responses by weighted criteria, in a list, one by one or in pairs.");
}
