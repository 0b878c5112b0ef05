// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <optional>

#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/verdict_model.hpp"
#include "plugins/common/concurrent.hpp"
#include "plugins/common/judging/material.hpp"
#include "plugins/common/judging/verdict_reading.hpp"

namespace dt2it {
namespace {

constexpr char kAnswers[] =
    "Above are a question about what is shown and two answers to it, response 1 and response 2. "
    "Decide which answer is better. "
    "Look at the picture yourself first. Weigh whether each answer is true to what can be seen, "
    "whether it answers what was "
    "asked, how complete it is and how clear. Neither the order of the answers nor their length "
    "says anything of their worth. "
    "Write a short comparison, then end with one line of exactly this form, X being 1 or 2:\n"
    "Overall Judgment: Answer X is better.";
constexpr char kBrackets[] =
    "Above are a question about what is shown and two answers to it: response 1 is by assistant A, "
    "response 2 by assistant B. "
    "Decide which assistant serves the user better. Look at the picture yourself first. Weigh "
    "whether each answer is true to what "
    "can be seen, whether it does what was asked, how helpful it is and whether it is safe. "
    "Neither the order of the answers nor "
    "their length nor a name says anything of their worth. Write a short comparison, then end with "
    "a line that is [[A]] if A is "
    "better, or [[B]] if B is.";

// An MLLM that is asked which of two responses is better, as the generative rows of the paper's Tables 2 to 4 are. A verdict that
// cannot be had or read keeps its status.
class VerdictRewardModel final : public RewardModel, public VerdictModel {
 public:
  struct Params {
    std::string mllm;
    std::string form = "answers";
    int samples = 1;
    std::string order = "random";
    std::optional<double> temperature;
    std::optional<double> top_p;
    std::optional<std::int64_t> max_tokens;
    int workers = 16;
    static void describe(Schema<Params>& schema) {
      schema.component<Mllm>("mllm", &Params::mllm, "The [mllms.*] table to ask.")
          .required()
          .argument();
      schema
          .field("form", &Params::form,
                 "How the verdict is asked for: answers (\"Answer 1 is better\", as in "
                 "VL-RewardBench) or brackets (\"[[A]]\", as in "
                 "Multimodal RewardBench).")
          .choices({"answers", "brackets"});
      schema.field("samples", &Params::samples, "Replies drawn for each pair and order.")
          .min(1)
          .max(99);
      schema
          .field("order", &Params::order,
                 "In which order the two responses are shown: drawn anew for each sample, or each "
                 "sample in both.")
          .choices({"random", "both"});
      schema
          .field("temperature", &Params::temperature,
                 "Sampling temperature; not given: 0 for one sample, 0.2 for several, as the "
                 "official script has it.")
          .min(0)
          .max(2);
      schema.field("top_p", &Params::top_p, "Nucleus of sampling; not given: the model's own.")
          .min(0)
          .max(1);
      schema
          .field("max_tokens", &Params::max_tokens,
                 "Longest reply, in tokens; not given: the model's own limit.")
          .min(1);
      schema.field("workers", &Params::workers, "Pairs that are asked about at the same time.")
          .min(1)
          .max(256);
    }
  };

  VerdictRewardModel(const Params& params, Context& context)
      : params_(params), context_(context), mllm_(context.component<Mllm>(params.mllm)) {}

  std::size_t batch_size() const override {
    return std::max<std::size_t>(64, 4 * static_cast<std::size_t>(params_.workers));
  }

  std::vector<std::vector<ShownVerdict>> verdicts(
      std::span<const RewardRequest> requests) override {
    std::vector<std::vector<ShownVerdict>> result(requests.size());
    concurrently(requests.size(), params_.workers,
                 [&](std::size_t i) { result[i] = ask_all(requests[i]); });
    return result;
  }

  // The share of the samples that are for it; of more than two responses, over all pairs. Where nothing could be read, why.
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    struct Couple {
      std::size_t request, first, second;
      std::array<Response, 2> responses;
    };
    std::vector<Couple> couples;
    for (std::size_t r = 0; r < requests.size(); ++r)
      for (std::size_t i = 0; i < requests[r].responses.size(); ++i)
        for (std::size_t j = i + 1; j < requests[r].responses.size(); ++j)
          couples.push_back({r, i, j, {requests[r].responses[i], requests[r].responses[j]}});
    std::vector<RewardRequest> asked;
    for (const Couple& couple : couples)
      asked.push_back({requests[couple.request].prompt, couple.responses, 0, {}});
    const auto given = verdicts(asked);

    struct Tally {
      double won = 0, read = 0;
      Status trouble = Status::invalid;  // nothing to compare with
    };
    std::vector<std::vector<Tally>> tallies;
    for (const RewardRequest& request : requests) tallies.emplace_back(request.responses.size());
    for (std::size_t c = 0; c < couples.size(); ++c) {
      const std::array both{&tallies[couples[c].request][couples[c].first],
                            &tallies[couples[c].request][couples[c].second]};
      for (const ShownVerdict& one : given[c]) {
        const std::size_t winner = one.shown[one.verdict.winner == Verdict::Winner::first ? 0 : 1];
        for (std::size_t side = 0; side < 2; ++side) {
          if (!one.verdict.ok()) {
            both[side]->trouble = one.verdict.status;
            continue;
          }
          both[side]->won += side == winner;
          both[side]->read += 1;
        }
      }
    }
    std::vector<std::vector<Reward>> result;
    for (const std::vector<Tally>& row : tallies) {
      auto& rewards = result.emplace_back();
      for (const Tally& one : row)
        rewards.push_back(one.read > 0 ? Reward{Status::ok, one.won / one.read, {}}
                                       : Reward{one.trouble});
    }
    return result;
  }

 private:
  std::vector<ShownVerdict> ask_all(const RewardRequest& request) {
    if (request.responses.size() != 2) throw DataError("a verdict is on two responses");
    const Response& one = request.responses[0];
    const Response& two = request.responses[1];
    // The order depends on what is asked alone, not on the order in which the two came.
    const bool sorted = one.text <= two.text;
    const std::string name = "order/" + request.prompt->id + "/" +
                             (sorted ? one.text + "/" + two.text : two.text + "/" + one.text);
    Rng rng = context_.rng(name);
    std::vector<ShownVerdict> result;
    for (int sample = 0; sample < params_.samples; ++sample) {
      const bool lower_first = rng.chance(0.5);
      for (const bool first : {lower_first, !lower_first}) {
        const std::size_t at = first == sorted ? 0 : 1;
        result.push_back(ask(request, {at, 1 - at}, sample));
        if (params_.order == "random") break;
      }
    }
    return result;
  }

  ShownVerdict ask(const RewardRequest& request, std::array<std::size_t, 2> shown,
                   int sample) const {
    ShownVerdict result{shown, params_.form, {}};
    Verdict& verdict = result.verdict;
    for (const Message& message : request.prompt->messages)
      for (const Part& part : message.content)
        if (part.kind != Part::Kind::text && !part.media.present()) {
          verdict.status = Status::missing_media;
          verdict.detail = "the judge cannot see " +
                           (part.media.source.empty() ? "an image" : part.media.source);
          return result;
        }
    const std::array responses{request.responses[shown[0]], request.responses[shown[1]]};
    ChatRequest chat;
    Message user{Message::Role::user, {}};
    judging::add_material(user, params_.form, *request.prompt, responses, /*use_reference=*/false,
                          params_.form == "answers" ? kAnswers : kBrackets);
    chat.messages.push_back(std::move(user));
    chat.sampling.temperature = params_.temperature.value_or(params_.samples > 1 ? 0.2 : 0.0);
    chat.sampling.top_p = params_.top_p;
    chat.sampling.max_tokens = params_.max_tokens;
    chat.sampling.sample = sample;
    chat.purpose = "verdict";
    const ChatReply reply = mllm_->chat(chat);
    verdict.reply = reply.text;
    verdict.status = reply.status;
    verdict.detail = reply.detail;
    if (!verdict.ok() && verdict.status != Status::truncated) return result;
    const int number = params_.form == "answers" ? judging::answer_number(reply.text).value_or(0)
                                                 : letter_number(reply.text);
    if (number == 1 || number == 2) {
      verdict.status = Status::ok;  // a reply may be cut behind its verdict
      verdict.winner = number == 1 ? Verdict::Winner::first : Verdict::Winner::second;
    } else if (verdict.ok()) {
      verdict.status = Status::unparsed;
      verdict.detail = "the reply names neither side";
    }
    return result;
  }

  static int letter_number(std::string_view reply) {
    const char letter = judging::bracket_letter(reply);
    return letter == 'A' ? 1 : letter == 'B' ? 2 : 0;
  }

  const Params params_;
  Context& context_;
  const std::shared_ptr<Mllm> mllm_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/verdict", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::VerdictRewardModel>(
      "verdict",
      "An MLLM that says which of two responses is better; raw replies and orders are kept.");
}
