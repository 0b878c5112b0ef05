// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_counter.hpp"

#include "core/calls/batches.hpp"

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

CallTotals CallCounter::totals() const {
  return {calls_.load(), failures_.load(), unanswered_.load(), prompt_tokens_.load(),
          completion_tokens_.load()};
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

}  // namespace

std::shared_ptr<Mllm> count_calls(std::shared_ptr<Mllm> mllm, std::shared_ptr<CallCounter> counter,
                                  bool remote) {
  return std::make_shared<CountedMllm>(std::move(mllm), std::move(counter), remote);
}

}  // namespace dt2it
