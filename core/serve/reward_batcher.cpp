// SPDX-License-Identifier: Apache-2.0
#include "core/serve/reward_batcher.hpp"

#include <algorithm>
#include <cmath>
#include <exception>

#include "dt2it/error.hpp"

namespace dt2it {

using Clock = std::chrono::steady_clock;

RewardBatcher::RewardBatcher(RewardModel& model, std::size_t tokens_per_group)
    : model_(model),
      tokens_per_group_(std::max<std::size_t>(1, tokens_per_group)),
      thread_([this] { run(); }) {}

RewardBatcher::~RewardBatcher() { finish(); }

void RewardBatcher::add(std::unique_ptr<RewardJob> job) {
  std::lock_guard lock(mutex_);
  waiting_tokens_ += job->tokens;
  waiting_.push_back(std::move(job));
  changed_.notify_one();
}

void RewardBatcher::finish() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

RewardBatcher::Totals RewardBatcher::totals() const {
  std::lock_guard lock(mutex_);
  Totals totals = totals_;
  totals.waiting = waiting_.size();
  return totals;
}

double RewardBatcher::backlog_seconds() const {
  std::lock_guard lock(mutex_);
  return estimated_ > 0 ? static_cast<double>(waiting_tokens_) * totals_.seconds / estimated_ : 0;
}

// Null: there is no full group (only_full), or nothing waits and nothing will come.
std::unique_ptr<RewardBatcher::Group> RewardBatcher::take(bool only_full) {
  auto group = std::make_unique<Group>();
  std::vector<std::unique_ptr<RewardJob>> expired;
  {
    std::unique_lock lock(mutex_);
    if (only_full && waiting_tokens_ < tokens_per_group_) return nullptr;
    changed_.wait(lock, [this] { return !waiting_.empty() || ending_; });
    const auto now = Clock::now();
    std::size_t tokens = 0;
    while (!waiting_.empty()) {
      std::unique_ptr<RewardJob>& next = waiting_.front();
      const bool late = next->deadline <= now;
      if (!late && !group->jobs.empty() && tokens + next->tokens > tokens_per_group_) break;
      waiting_tokens_ -= next->tokens;
      if (!late) tokens += next->tokens;
      (late ? expired : group->jobs).push_back(std::move(next));
      waiting_.pop_front();
    }
    totals_.expired += expired.size();
  }
  for (const auto& job : expired)
    settle(*job, {RewardOutcome::Kind::expired, {}, "its turn did not come in time"});
  for (const auto& job : group->jobs)
    group->requests.push_back({&job->prompt, job->responses, 0, {}});
  return group->jobs.empty() && expired.empty() ? nullptr : std::move(group);
}

void RewardBatcher::run() {
  const auto prepare = [this](Group& group) {
    if (group.prepared) return;
    group.prepared = true;
    try {
      model_.prepare(group.requests);
    } catch (const std::exception&) {
      model_.prepare({});  // what is wrong will be said by rewards()
    }
  };
  std::unique_ptr<Group> ahead;
  for (;;) {
    std::unique_ptr<Group> now = ahead ? std::move(ahead) : take(false);
    if (!now) return;
    if (now->jobs.empty()) continue;  // all were late
    prepare(*now);
    ahead = take(true);
    if (ahead && ahead->jobs.empty()) ahead.reset();
    if (ahead) prepare(*ahead);
    compute(*now);
  }
}

void RewardBatcher::compute(Group& group) {
  const auto start = Clock::now();
  std::vector<RewardOutcome> outcomes(group.jobs.size());
  // One request that breaks the model must not take the others with it: they are asked again one by
  // one.
  const auto ask = [&](std::size_t first, std::size_t count) {
    auto rewards = model_.rewards(std::span(group.requests).subspan(first, count));
    if (rewards.size() != count)
      throw PluginError("the reward model answered another number of requests");
    for (std::size_t i = 0; i < count; ++i) {
      if (rewards[i].size() != group.jobs[first + i]->responses.size())
        throw PluginError("the reward model answered another number of responses");
      outcomes[first + i] = {RewardOutcome::Kind::answered, std::move(rewards[i]), {}};
    }
  };
  try {
    ask(0, group.jobs.size());
  } catch (const std::exception& error) {
    for (std::size_t i = 0; i < group.jobs.size(); ++i) {
      outcomes[i] = {RewardOutcome::Kind::failed, {}, error.what()};
      if (group.jobs.size() == 1) break;
      try {
        ask(i, 1);
      } catch (const std::exception& own) {
        outcomes[i] = {RewardOutcome::Kind::failed, {}, own.what()};
      }
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  {
    std::lock_guard lock(mutex_);
    totals_.seconds += seconds;
    ++totals_.groups;
    totals_.jobs += group.jobs.size();
    totals_.tokens = model_.work().tokens;
    for (std::size_t i = 0; i < group.jobs.size(); ++i) {
      estimated_ += static_cast<double>(group.jobs[i]->tokens);
      totals_.broken += outcomes[i].kind == RewardOutcome::Kind::failed;
      for (Reward& reward : outcomes[i].rewards) {
        if (reward.ok() && !std::isfinite(reward.value))
          reward = {Status::invalid, reward.value, "the reward is not a finite number"};
        ++totals_.rewards;
        totals_.failed_rewards += !reward.ok();
      }
    }
  }
  for (std::size_t i = 0; i < group.jobs.size(); ++i)
    settle(*group.jobs[i], std::move(outcomes[i]));
}

void RewardBatcher::settle(RewardJob& job, RewardOutcome outcome) {
  if (job.done) job.done(std::move(outcome));
}

}  // namespace dt2it
