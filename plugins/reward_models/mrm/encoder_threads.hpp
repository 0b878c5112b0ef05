// SPDX-License-Identifier: Apache-2.0
#pragma once

// Requests as token trees, made by threads of their own ahead of the computation, so that it does not wait for images.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "dt2it/backbone.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {

// A tree, and whose responses its branches are.
struct RewardTree {
  struct Place {
    std::size_t request = 0;
    std::size_t response = 0;
    std::size_t branch = 0;
  };
  EncodedTree encoded;
  std::vector<Place> places;  // when the encoding failed, branches mean nothing
};

// All requests with the same prompt: one tree where the result is the same. Requests that show the same media follow each
// other, so that whoever computes them together encodes these once.
struct PromptGroup {
  std::vector<std::size_t> requests;
  std::size_t media =
      0;  // equal for groups that show the same media; groups without media each have their own
};
std::vector<PromptGroup> group_by_prompt(std::span<const RewardRequest> requests);

// The trees of one group. Equal answers are one branch. Where the length limit cuts, each request has a tree of its own,
// for how much is cut depends on the longest answer; a tree of more than `most_tokens` is split where it has several
// branches.
std::vector<RewardTree> encode_group(Backbone& backbone, std::span<const RewardRequest> requests,
                                     const PromptGroup& group, std::size_t most_tokens);

// Encodes batch after batch, each in the order of its groups. Batches may be added while an earlier one is not taken
// yet. Threads stop when more than `most_ahead` tokens wait to be taken (prepared images take about 3 KB a token).
class EncoderThreads {
 public:
  EncoderThreads(Backbone& backbone, int threads, std::size_t most_tokens, std::size_t most_ahead);
  ~EncoderThreads();

  // The requests must stay until all groups are taken, or drop() is called.
  void add(std::span<const RewardRequest> requests);
  // The next group of the oldest batch, waiting for it; false when that batch has no more. What encoding threw is thrown
  // here.
  bool take(std::size_t& media, std::vector<RewardTree>& trees);
  // Forgets all batches.
  void drop();

 private:
  struct Work {
    std::vector<RewardTree> trees;
    std::exception_ptr error;
    std::size_t tokens = 0;
    bool done = false;
  };
  struct Batch {
    std::span<const RewardRequest> requests;
    std::vector<PromptGroup> groups;
    std::vector<Work> works;
    std::size_t started = 0;
    std::size_t taken = 0;
  };
  void run(const std::stop_token& stop);
  std::shared_ptr<Batch> to_start() const;

  Backbone& backbone_;
  const std::size_t most_tokens_, most_ahead_;
  std::mutex mutex_;
  std::condition_variable_any may_start_;
  std::condition_variable_any finished_;
  std::deque<std::shared_ptr<Batch>> batches_;  // oldest first
  std::size_t ahead_ = 0;                       // tokens that wait
  std::size_t at_work_ = 0;
  std::vector<std::jthread> threads_;  // last: they end before what they use
};

}  // namespace dt2it
