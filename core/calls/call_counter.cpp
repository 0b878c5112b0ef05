// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_counter.hpp"

#include "core/calls/batches.hpp"
#include "dt2it/verdict_model.hpp"

namespace dt2it {

void CallCounter::count(const ChatReply& reply, bool remote) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  if (reply.status != Status::ok) failures_.fetch_add(1, std::memory_order_relaxed);
  if (remote && reply.status == Status::unavailable) {
    unanswered_.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    why_unanswered_ = reply.detail;
  }
  prompt_tokens_.fetch_add(reply.usage.prompt_tokens, std::memory_order_relaxed);
  completion_tokens_.fetch_add(reply.usage.completion_tokens, std::memory_order_relaxed);
  if (on_reply) on_reply(reply);
}

void CallCounter::count(const std::vector<std::vector<Reward>>& rewards) {
  for (const auto& some : rewards) {
    rewards_.fetch_add(static_cast<std::int64_t>(some.size()), std::memory_order_relaxed);
    for (const Reward& reward : some)
      if (reward.status == Status::unavailable) {
        rewards_unanswered_.fetch_add(1, std::memory_order_relaxed);
        std::lock_guard lock(mutex_);
        why_unanswered_ = reward.detail;
      }
  }
}

CallTotals CallCounter::totals() const {
  return {calls_.load(),
          failures_.load(),
          unanswered_.load(),
          prompt_tokens_.load(),
          completion_tokens_.load(),
          rewards_.load(),
          rewards_unanswered_.load()};
}

std::string CallCounter::why_unanswered() const {
  std::lock_guard lock(mutex_);
  return why_unanswered_;
}

namespace {

class CountedMllm final : public Mllm {
 public:
  CountedMllm(std::shared_ptr<Mllm> mllm, std::shared_ptr<CallCounter> counter, bool remote)
      : mllm_(std::move(mllm)), counter_(std::move(counter)), remote_(remote) {}
  ChatReply chat(const ChatRequest& request) override {
    ChatReply reply = mllm_->chat(request);
    if (reply.detail != kWaitsForBatch) counter_->count(reply, remote_);
    return reply;
  }

 private:
  std::shared_ptr<Mllm> mllm_;
  std::shared_ptr<CallCounter> counter_;
  const bool remote_;
};

class CountedRewardModel final : public RewardModel {
 public:
  CountedRewardModel(std::shared_ptr<RewardModel> model, std::shared_ptr<CallCounter> counter)
      : model_(std::move(model)), counter_(std::move(counter)) {}
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    auto rewards = model_->rewards(requests);
    counter_->count(rewards);
    return rewards;
  }
  void prepare(std::span<const RewardRequest> requests) override { model_->prepare(requests); }
  RewardWork work() const override { return model_->work(); }
  void finish(std::size_t rows) override { model_->finish(rows); }
  std::size_t batch_size() const override { return model_->batch_size(); }

 private:
  const std::shared_ptr<RewardModel> model_;
  const std::shared_ptr<CallCounter> counter_;
};

}  // namespace

std::shared_ptr<Mllm> count_calls(std::shared_ptr<Mllm> mllm, std::shared_ptr<CallCounter> counter,
                                  bool remote) {
  return std::make_shared<CountedMllm>(std::move(mllm), std::move(counter), remote);
}

std::shared_ptr<RewardModel> count_rewards(std::shared_ptr<RewardModel> model,
                                           std::shared_ptr<CallCounter> counter) {
  if (dynamic_cast<VerdictModel*>(model.get())) return model;
  return std::make_shared<CountedRewardModel>(std::move(model), std::move(counter));
}

}  // namespace dt2it
