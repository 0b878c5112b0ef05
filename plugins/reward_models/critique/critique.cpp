// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <optional>

#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "plugins/common/concurrent.hpp"
#include "plugins/common/judging/material.hpp"

namespace dt2it {
namespace {

constexpr char kAsk[] =
    "Above are a question about what is shown and one answer to it. Judge the answer without bias: "
    "is it correct, clear and "
    "complete? Say where it is strong and where it falls short, with particulars. Give no score.";
constexpr char kHeading[] = "\n\nAssessment:\n";

// Semi-scalar reward models (MM-RLHF-Reward): a critique of each response is written first, then a scalar is read with the
// critique in view. Several critiques: the mean of their rewards.
class CritiqueRewardModel final : public RewardModel {
 public:
  struct Params {
    std::string mllm;
    std::string reward_model;
    int critiques = 1;
    double temperature = 0;
    std::optional<std::int64_t> max_tokens;
    std::string place = "answer";
    int workers = 16;
    static void describe(Schema<Params>& schema) {
      schema.component<Mllm>("mllm", &Params::mllm, "The [mllms.*] table that writes critiques.")
          .required()
          .argument();
      schema
          .component<RewardModel>(
              "reward_model", &Params::reward_model,
              "The [reward_models.*] table that scores with a critique in view.")
          .required();
      schema
          .field("critiques", &Params::critiques,
                 "Critiques of each response; the reward is the mean over them.")
          .min(1)
          .max(99);
      schema.field("temperature", &Params::temperature, "Sampling temperature of critiques.")
          .min(0)
          .max(2);
      schema
          .field("max_tokens", &Params::max_tokens,
                 "Longest critique, in tokens; not given: the model's own limit.")
          .min(1);
      schema
          .field("place", &Params::place,
                 "What the scoring model reads: answer (the response goes on with its critique) or "
                 "dialogue (question, response and "
                 "the request for a critique as the user's turn, the critique as the reply, as "
                 "MM-RLHF-Reward was trained).")
          .choices({"answer", "dialogue"});
      schema.field("workers", &Params::workers, "Critiques that are asked for at the same time.")
          .min(1)
          .max(256);
    }
  };

  CritiqueRewardModel(const Params& params, Context& context)
      : params_(params),
        mllm_(context.component<Mllm>(params.mllm)),
        scorer_(context.component<RewardModel>(params.reward_model)) {}

  std::size_t batch_size() const override {
    return std::max<std::size_t>(64, 4 * static_cast<std::size_t>(params_.workers));
  }
  RewardWork work() const override { return scorer_->work(); }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<Job> jobs;
    for (std::size_t i = 0; i < requests.size(); ++i)
      for (std::size_t k = 0; k < requests[i].responses.size(); ++k)
        for (int sample = 0; sample < params_.critiques; ++sample)
          jobs.push_back({i, k, sample, {}});
    write_all(requests, jobs);

    // Each critique is a prompt of its own to the scoring model.
    std::vector<Prompt> prompts(jobs.size());
    std::vector<Response> responses(jobs.size());
    std::vector<RewardRequest> asked;
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      if (jobs[j].critique.status != Status::ok) continue;
      const RewardRequest& request = requests[jobs[j].request];
      const Response& response = request.responses[jobs[j].response];
      prompts[j] = *request.prompt;
      responses[j] = response;
      if (params_.place == "dialogue") {
        prompts[j].messages = {question(*request.prompt, response)};
        responses[j].text = jobs[j].critique.text;
      } else {
        responses[j].text += kHeading + jobs[j].critique.text;
      }
      asked.push_back({&prompts[j], std::span(&responses[j], 1), 0, {}});
    }
    std::vector<std::vector<Reward>> scored;
    const std::size_t most = std::max<std::size_t>(1, scorer_->batch_size());
    for (std::size_t at = 0; at < asked.size(); at += most)
      for (auto& one :
           scorer_->rewards(std::span(asked).subspan(at, std::min(most, asked.size() - at))))
        scored.push_back(std::move(one));

    std::vector<std::vector<Reward>> result(requests.size());
    std::vector<std::vector<int>> counts(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      result[i].assign(requests[i].responses.size(), Reward{Status::ok, 0, {}});
      counts[i].assign(requests[i].responses.size(), 0);
    }
    std::size_t next = 0;
    for (const Job& job : jobs) {
      Reward& total = result[job.request][job.response];
      const Reward one = job.critique.status == Status::ok
                             ? scored.at(next++).at(0)
                             : Reward{job.critique.status, 0, job.critique.detail};
      if (!total.ok()) continue;
      if (one.ok())
        total.value += one.value;
      else
        total = {
            one.status, 0,
            one.detail};  // a mean over fewer would not be comparable with the other response's
      ++counts[job.request][job.response];
    }
    for (std::size_t i = 0; i < result.size(); ++i)
      for (std::size_t k = 0; k < result[i].size(); ++k)
        if (result[i][k].ok()) result[i][k].value /= counts[i][k];
    return result;
  }

 private:
  struct Job {
    std::size_t request, response;
    int sample;
    ChatReply critique;
  };

  static Message question(const Prompt& prompt, const Response& response) {
    Message user{Message::Role::user, {}};
    judging::add_material(user, "critique", prompt, std::span(&response, 1),
                          /*use_reference=*/false, kAsk);
    return user;
  }

  void write_all(std::span<const RewardRequest> requests, std::vector<Job>& jobs) {
    concurrently(jobs.size(), params_.workers, [&](std::size_t j) {
      const RewardRequest& request = requests[jobs[j].request];
      ChatRequest chat;
      chat.messages.push_back(question(*request.prompt, request.responses[jobs[j].response]));
      chat.sampling.temperature = params_.temperature;
      chat.sampling.max_tokens = params_.max_tokens;
      chat.sampling.sample = jobs[j].sample;
      chat.purpose = "critique";
      jobs[j].critique = mllm_->chat(chat);
      if (jobs[j].critique.status == Status::truncated)
        jobs[j].critique.status = Status::ok;  // as far as it goes
    });
  }

  const Params params_;
  const std::shared_ptr<Mllm> mllm_;
  const std::shared_ptr<RewardModel> scorer_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/critique", "1.0.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::CritiqueRewardModel>(
      "critique",
      "Semi-scalar: an MLLM writes a critique of each response, then a reward model scores with it "
      "in view.");
}
