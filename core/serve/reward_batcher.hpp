// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dt2it/reward_model.hpp"

namespace dt2it {

// What became of a job.
struct RewardOutcome {
  enum class Kind : std::uint8_t {
    answered,  // one reward a response; each may have failed by itself
    expired,   // its deadline passed before its turn came
    failed,    // the model broke on it: `detail`
  };
  Kind kind = Kind::failed;
  std::vector<Reward> rewards;
  std::string detail;
};

// One prompt with its responses, waiting for rewards.
struct RewardJob {
  Prompt prompt;
  std::vector<Response> responses;
  std::size_t tokens = 1;  // about how many; only the size of groups depends on it
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::function<void(RewardOutcome)> done;  // called once, in the batcher's thread; must not throw
};

// Continuous batching: a thread of its own hands the model whatever waits, oldest first, up to a
// budget of tokens, and takes the next group as soon as one is done. While a full group waits, it
// is announced to the model before the one at work is computed; a group that is not full waits for
// company until its turn.
class RewardBatcher {
 public:
  struct Totals {
    std::uint64_t groups = 0, jobs = 0, rewards = 0, failed_rewards = 0, expired = 0, broken = 0;
    std::uint64_t tokens = 0;  // computed, as the model counts them
    double seconds = 0;        // spent in the model
    std::size_t waiting = 0;   // jobs
  };

  RewardBatcher(RewardModel& model, std::size_t tokens_per_group);
  ~RewardBatcher();  // after all jobs are done
  RewardBatcher(const RewardBatcher&) = delete;
  RewardBatcher& operator=(const RewardBatcher&) = delete;

  // Thread-safe, as all that follow. Not after finish() has begun.
  void add(std::unique_ptr<RewardJob> job);
  // Waits until all that was added is done.
  void finish();
  Totals totals() const;
  // When what waits now will have been worked on, by the pace so far; 0 while no pace is known.
  double backlog_seconds() const;

 private:
  struct Group {
    std::vector<std::unique_ptr<RewardJob>> jobs;
    std::vector<RewardRequest> requests;
    bool prepared = false;
  };
  void run();
  std::unique_ptr<Group> take(bool only_full);
  void compute(Group& group);
  void settle(RewardJob& job, RewardOutcome outcome);

  RewardModel& model_;
  const std::size_t tokens_per_group_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<RewardJob>> waiting_;
  std::size_t waiting_tokens_ = 0;
  bool ending_ = false;
  Totals totals_;
  double estimated_ = 0;  // tokens computed so far, by the jobs' own estimates
  std::thread thread_;    // last: it uses all of the above
};

}  // namespace dt2it
