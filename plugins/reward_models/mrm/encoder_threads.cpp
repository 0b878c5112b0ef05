// SPDX-License-Identifier: Apache-2.0
#include "plugins/reward_models/mrm/encoder_threads.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>

#include "dt2it/response_key.hpp"

namespace dt2it {
namespace {

// Of all media of a prompt; empty without any.
std::string media_key(const Prompt& prompt) {
  std::string key;
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content)
      if (part.kind != Part::Kind::text) key += media_text_for_key(part.media);
  return key;
}

// Branches [begin, end) of a tree as a tree.
TokenTree part_of(const TokenTree& tree, std::size_t begin, std::size_t end) {
  TokenTree part;
  part.prefix = tree.prefix;
  part.visuals = tree.visuals;
  part.visual_runs = tree.visual_runs;
  const auto copy = [&](std::size_t from, std::size_t to) {
    part.tokens.insert(part.tokens.end(), tree.tokens.begin() + static_cast<std::ptrdiff_t>(from),
                       tree.tokens.begin() + static_cast<std::ptrdiff_t>(to));
    part.positions.insert(part.positions.end(),
                          tree.positions.begin() + static_cast<std::ptrdiff_t>(from),
                          tree.positions.begin() + static_cast<std::ptrdiff_t>(to));
  };
  copy(0, tree.prefix);
  for (std::size_t branch = begin; branch < end; ++branch) {
    copy(tree.branch_begin(branch), tree.branch_ends[branch]);
    part.branch_ends.push_back(part.tokens.size());
  }
  return part;
}

void split(RewardTree whole, std::size_t most_tokens, std::vector<RewardTree>& out) {
  const TokenTree& tree = whole.encoded.tree;
  const std::size_t branches = tree.branch_ends.size();
  if (whole.encoded.status != Status::ok || tree.tokens.size() <= most_tokens || branches < 2) {
    out.push_back(std::move(whole));
    return;
  }
  for (std::size_t begin = 0; begin < branches;) {
    std::size_t end = begin + 1;
    std::size_t tokens = tree.prefix + tree.branch_ends[begin] - tree.branch_begin(begin);
    for (; end < branches; ++end) {
      const std::size_t more = tree.branch_ends[end] - tree.branch_begin(end);
      if (tokens + more > most_tokens) break;
      tokens += more;
    }
    RewardTree piece;
    piece.encoded.status = Status::ok;
    piece.encoded.cut = whole.encoded.cut;
    piece.encoded.tree = part_of(tree, begin, end);
    for (RewardTree::Place place : whole.places)
      if (place.branch >= begin && place.branch < end) {
        place.branch -= begin;
        piece.places.push_back(place);
      }
    out.push_back(std::move(piece));
    begin = end;
  }
}

RewardTree encode(Backbone& backbone, std::span<const RewardRequest> requests,
                  std::span<const std::size_t> which) {
  RewardTree tree;
  std::vector<std::string_view> texts;
  std::unordered_map<std::string_view, std::size_t> branch_of;
  for (const std::size_t request : which)
    for (std::size_t i = 0; i < requests[request].responses.size(); ++i) {
      const std::string_view text = requests[request].responses[i].text;
      const auto [known, fresh] = branch_of.try_emplace(text, texts.size());
      if (fresh) texts.push_back(text);
      tree.places.push_back({request, i, known->second});
    }
  tree.encoded = backbone.encode(*requests[which.front()].prompt, texts);
  return tree;
}

}  // namespace

std::vector<PromptGroup> group_by_prompt(std::span<const RewardRequest> requests) {
  std::vector<PromptGroup> groups;
  std::unordered_map<std::string, std::size_t> by_prompt, by_media;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto [known, fresh] =
        by_prompt.try_emplace(prompt_text_for_key(*requests[i].prompt), groups.size());
    if (fresh) {
      std::string shown = media_key(*requests[i].prompt);
      const std::size_t media =
          shown.empty() ? i : by_media.try_emplace(std::move(shown), i).first->second;
      groups.push_back({{}, media});
    }
    groups[known->second].requests.push_back(i);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.media < b.media; });
  return groups;
}

std::vector<RewardTree> encode_group(Backbone& backbone, std::span<const RewardRequest> requests,
                                     const PromptGroup& group, std::size_t most_tokens) {
  std::vector<RewardTree> trees;
  RewardTree together = encode(backbone, requests, group.requests);
  const bool limited = together.encoded.cut || together.encoded.status == Status::truncated;
  if (!limited || group.requests.size() == 1) {
    split(std::move(together), most_tokens, trees);
    return trees;
  }
  for (const std::size_t& request : group.requests)
    split(encode(backbone, requests, {&request, 1}), most_tokens, trees);
  return trees;
}

EncoderThreads::EncoderThreads(Backbone& backbone, int threads, std::size_t most_tokens,
                               std::size_t most_ahead)
    : backbone_(backbone), most_tokens_(most_tokens), most_ahead_(most_ahead) {
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
}

EncoderThreads::~EncoderThreads() { drop(); }

void EncoderThreads::add(std::span<const RewardRequest> requests) {
  auto batch = std::make_shared<Batch>();
  batch->requests = requests;
  batch->groups = group_by_prompt(requests);
  batch->works.resize(batch->groups.size());
  {
    std::lock_guard lock(mutex_);
    batches_.push_back(std::move(batch));
  }
  may_start_.notify_all();
}

bool EncoderThreads::take(std::size_t& media, std::vector<RewardTree>& trees) {
  std::unique_lock lock(mutex_);
  if (batches_.empty()) return false;
  const std::shared_ptr<Batch> batch = batches_.front();
  if (batch->taken == batch->works.size()) {
    batches_.pop_front();
    return false;
  }
  Work& work = batch->works[batch->taken];
  finished_.wait(lock, [&] { return work.done; });
  media = batch->groups[batch->taken].media;
  trees = std::move(work.trees);
  ahead_ -= work.tokens;
  ++batch->taken;
  lock.unlock();
  may_start_.notify_all();
  if (work.error) std::rethrow_exception(work.error);
  return true;
}

void EncoderThreads::drop() {
  std::unique_lock lock(mutex_);
  batches_.clear();
  // Those at work hold requests that the caller may now take away.
  finished_.wait(lock, [this] { return at_work_ == 0; });
  ahead_ = 0;
}

std::shared_ptr<EncoderThreads::Batch> EncoderThreads::to_start() const {
  if (ahead_ >= most_ahead_) return nullptr;
  for (const auto& batch : batches_)
    if (batch->started < batch->works.size()) return batch;
  return nullptr;
}

void EncoderThreads::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::shared_ptr<Batch> batch;
    // Groups are started in the order in which they are taken: whoever waits for one never waits for room.
    if (!may_start_.wait(lock, stop, [&] { return (batch = to_start()) != nullptr; })) return;
    const std::size_t at = batch->started++;
    ++at_work_;
    lock.unlock();
    Work work;
    try {
      work.trees = encode_group(backbone_, batch->requests, batch->groups[at], most_tokens_);
    } catch (...) {
      work.error = std::current_exception();
    }
    for (const RewardTree& tree : work.trees) work.tokens += tree.encoded.tree.tokens.size();
    work.done = true;
    lock.lock();
    --at_work_;
    ahead_ += work.tokens;
    batch->works[at] = std::move(work);
    finished_.notify_all();
  }
}

}  // namespace dt2it
