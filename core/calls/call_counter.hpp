// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counts the calls of every MLLM that a plugin gets, and the rewards that did not come.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

struct CallTotals {
  std::int64_t calls = 0;
  std::int64_t failures = 0;    // replies whose status is not ok
  std::int64_t unanswered = 0;  // of those, calls of remote models that got no answer
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t rewards = 0;             // of models that have no MLLM to ask
  std::int64_t rewards_unanswered = 0;  // of those, rewards of status unavailable
};

// Thread-safe.
class CallCounter {
 public:
  void count(const ChatReply& reply, bool remote);
  void count(const std::vector<std::vector<Reward>>& rewards);
  CallTotals totals() const;
  std::string why_unanswered() const;              // of the last one
  std::function<void(const ChatReply&)> on_reply;  // set before the first call

 private:
  std::atomic<std::int64_t> calls_{0}, failures_{0}, unanswered_{0}, prompt_tokens_{0},
      completion_tokens_{0}, rewards_{0}, rewards_unanswered_{0};
  mutable std::mutex mutex_;
  std::string why_unanswered_;
};

// The MLLM as plugins see it. `remote`: another time it may answer what it did not answer now.
std::shared_ptr<Mllm> count_calls(std::shared_ptr<Mllm> mllm, std::shared_ptr<CallCounter> counter,
                                  bool remote);

// The reward model as plugins and stages see it. One that gives verdicts is handed back as it is: it asks an MLLM, whose calls are
// counted.
std::shared_ptr<RewardModel> count_rewards(std::shared_ptr<RewardModel> model,
                                           std::shared_ptr<CallCounter> counter);

}  // namespace dt2it
