// SPDX-License-Identifier: Apache-2.0
#include "core/score/scoring.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it {
namespace {

constexpr std::size_t kGroupsAhead = 2;
constexpr std::array<std::size_t, 2> kForwards{0, 1}, kBackwards{1, 0};

// Some records, as the model is asked about them. Requests point into it: it is not moved.
struct Group {
  std::vector<AnswerRecord> records;
  std::vector<RewardRequest> requests;
  struct Asked {
    std::size_t record = 0;
    bool backwards = false;
    std::size_t first = 0;  // response of the record that the request's first one is
  };
  std::vector<Asked> asked;  // for each request
  std::vector<std::vector<std::size_t>> indices;
  bool prepared = false;

  void ask() {
    indices.resize(records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
      AnswerRecord& record = records[i];
      if (record.status != Status::ok) continue;
      record.prompt.extra.clear();  // truth and labels may be there
      if (record.rejected_prompt && record.responses.size() == 2) {
        record.rejected_prompt->extra.clear();
        for (const std::size_t k : {0, 1})
          add(k == 0 ? record.prompt : *record.rejected_prompt, {record.responses.data() + k, 1},
              {&kForwards[k], 1}, {i, false, k});
        continue;
      }
      const bool backwards =
          record.pair && record.responses.size() == 2 && (stable_hash("order", record.row) & 1);
      if (backwards) std::swap(record.responses[0], record.responses[1]);
      indices[i].resize(record.responses.size());
      for (std::size_t k = 0; k < indices[i].size(); ++k)
        indices[i][k] = backwards ? kBackwards[k] : k;
      add(record.prompt, record.responses, indices[i], {i, backwards, 0});
    }
  }

  std::vector<ScoreLine> lines(const std::vector<std::vector<Reward>>& rewards) const {
    std::vector<ScoreLine> result(records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
      const AnswerRecord& record = records[i];
      ScoreLine& line = result[i];
      line.row = record.row;
      line.id = record.id;
      line.status = record.status;
      line.detail = record.detail;
      line.rewards.resize(record.status == Status::ok ? record.responses.size() : 2);
      if (record.status == Status::ok && !record.pair)
        line.form =
            record.responses.size() == 1 ? ScoreLine::Form::single : ScoreLine::Form::candidates;
    }
    for (std::size_t k = 0; k < requests.size(); ++k) {
      if (rewards[k].size() != requests[k].responses.size())
        throw PluginError(fmt::format("the reward model gave {} rewards for {} responses",
                                      rewards[k].size(), requests[k].responses.size()));
      ScoreLine& line = result[asked[k].record];
      for (std::size_t j = 0; j < rewards[k].size(); ++j)
        line.rewards[asked[k].backwards ? kBackwards[j] : asked[k].first + j] = rewards[k][j];
    }
    for (ScoreLine& line : result) {
      if (line.status != Status::ok) continue;
      for (Reward& reward : line.rewards) {
        if (reward.ok() && !std::isfinite(reward.value)) {
          reward.status = Status::invalid;
          reward.detail = "the reward is not a finite number";
        }
        // The line can be asked again where one of its rewards can.
        if (!reward.ok() && (line.status == Status::ok || (reward.status == Status::unavailable &&
                                                           line.status != Status::unavailable))) {
          line.status = reward.status;
          line.detail = reward.detail;
        }
      }
    }
    return result;
  }

 private:
  void add(const Prompt& prompt, std::span<const Response> responses,
           std::span<const std::size_t> original, Asked one) {
    requests.push_back({&prompt, responses, records[one.record].row, original});
    asked.push_back(one);
  }
};

// Reads groups ahead.
class Reader {
 public:
  Reader(Stream<AnswerRecord>& records, std::size_t group)
      : thread_([this, &records, group](const std::stop_token& stop) {
          std::unique_ptr<Group> next = std::make_unique<Group>();
          std::exception_ptr error;
          try {
            for (AnswerRecord record; !stop.stop_requested() && records.next(record); record = {}) {
              next->records.push_back(std::move(record));
              if (next->records.size() == group && !hand_over(next, stop)) return;
            }
          } catch (...) {
            error = std::current_exception();
          }
          if (!next->records.empty() && !hand_over(next, stop)) return;
          std::lock_guard lock(mutex_);
          error_ = error;
          ended_ = true;
          changed_.notify_all();
        }) {}

  // Null at the end, where what reading threw is thrown.
  std::unique_ptr<Group> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !groups_.empty() || ended_; });
    if (groups_.empty()) {
      if (error_) std::rethrow_exception(error_);
      return nullptr;
    }
    return pop();
  }
  // Null when none is there yet.
  std::unique_ptr<Group> try_take() {
    std::lock_guard lock(mutex_);
    return groups_.empty() ? nullptr : pop();
  }

 private:
  std::unique_ptr<Group> pop() {
    std::unique_ptr<Group> group = std::move(groups_.front());
    groups_.pop_front();
    changed_.notify_all();
    return group;
  }
  bool hand_over(std::unique_ptr<Group>& group, const std::stop_token& stop) {
    group->ask();
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [this] { return groups_.size() < kGroupsAhead; })) return false;
    groups_.push_back(std::move(group));
    changed_.notify_all();
    group = std::make_unique<Group>();
    return true;
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::unique_ptr<Group>> groups_;
  std::exception_ptr error_;
  bool ended_ = false;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace

JoinedAnswers::JoinedAnswers(std::vector<std::shared_ptr<Dataset>> inputs,
                             std::function<bool(std::size_t)> wanted)
    : inputs_(std::move(inputs)), wanted_(std::move(wanted)) {}

bool JoinedAnswers::next(AnswerRecord& record) {
  for (;;) {
    if (!stream_) {
      if (at_ == inputs_.size()) return false;
      // Every row is asked about, so that the last one asked about tells how many there were.
      stream_ = inputs_[at_]->answers([this](std::size_t row) {
        seen_ = row + 1;
        return wanted_(first_ + row);
      });
    }
    if (stream_->next(record)) {
      record.row += first_;
      return true;
    }
    stream_.reset();
    first_ += seen_;
    seen_ = 0;
    ++at_;
  }
}

ScoringWork score_answers(Stream<AnswerRecord>& records, RewardModel& model,
                          const Scoring& scoring) {
  ScoringWork total;
  Reader reader(records, std::max<std::size_t>(1, model.batch_size()));
  std::unique_ptr<Group> now = reader.take(), next;
  const auto start = std::chrono::steady_clock::now();
  const auto prepare = [&](Group& group) {
    if (group.prepared) return;
    group.prepared = true;
    if (!group.requests.empty()) model.prepare(group.requests);
  };
  // However this ends, the model keeps nothing that points into groups.
  struct TakeBack {
    RewardModel& model;
    ~TakeBack() { model.prepare({}); }
  } take_back{model};
  std::size_t rows = scoring.rows_there;
  while (now) {
    prepare(*now);
    next = reader.try_take();
    if (next) prepare(*next);
    std::vector<std::vector<Reward>> rewards;
    if (!now->requests.empty()) rewards = model.rewards(now->requests);
    if (rewards.size() != now->requests.size())
      throw PluginError(fmt::format("the reward model answered {} of {} requests", rewards.size(),
                                    now->requests.size()));
    const std::vector<ScoreLine> lines = now->lines(rewards);
    scoring.write(lines);
    for (const AnswerRecord& record : now->records) {
      if (scoring.done) scoring.done(record);
      total.pairs += record.status == Status::ok && record.pair;
      rows = std::max(rows, record.row + 1);
    }
    total.records += now->records.size();
    total.work = model.work();
    total.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (scoring.progress) scoring.progress(total);
    if (scoring.stop && *scoring.stop) return total;
    now = next ? std::move(next) : reader.take();
  }
  model.finish(rows);
  return total;
}

}  // namespace dt2it
