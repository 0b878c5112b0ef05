// SPDX-License-Identifier: Apache-2.0
#pragma once

// Components whose answers a test writes as a function, and small records to feed them. All are
// thread-safe as long as the function is.

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/benchmark.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/media.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/stream.hpp"
#include "dt2it/types.hpp"

namespace dt2it::testing {

// Answers by a function of the request; remembers what it was asked.
class FakeMllm final : public Mllm {
 public:
  using Answer = std::function<ChatReply(const ChatRequest&)>;
  explicit FakeMllm(Answer answer) : answer_(std::move(answer)) {}
  // Always this text, status ok.
  explicit FakeMllm(std::string text)
      : answer_([text = std::move(text)](const ChatRequest&) {
          ChatReply reply;
          reply.status = Status::ok;
          reply.text = text;
          reply.finish_reason = "stop";
          return reply;
        }) {}

  ChatReply chat(const ChatRequest& request) override {
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    return answer_(request);
  }
  std::vector<ChatRequest> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  Answer answer_;
  mutable std::mutex mutex_;
  std::vector<ChatRequest> requests_;
};

inline Score ok_score(double overall) {
  Score score;
  score.status = Status::ok;
  score.overall = overall;
  score.criteria = {{"correctness", 1.0, overall, "as given by the test"}};
  return score;
}

// Scores each response by a function of it; compares by these scores.
class FakeJudge final : public Judge {
 public:
  using Opinion = std::function<Score(const Prompt&, const Response&)>;
  explicit FakeJudge(Opinion opinion) : opinion_(std::move(opinion)) {}

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> responses) override {
    calls_ += 1;
    std::vector<Score> scores;
    for (const Response& response : responses) scores.push_back(opinion_(prompt, response));
    return scores;
  }
  Verdict compare(const Prompt& prompt, const Response& first, const Response& second) override {
    calls_ += 1;
    const Score one = opinion_(prompt, first), two = opinion_(prompt, second);
    Verdict verdict;
    verdict.status = one.ok() ? two.status : one.status;
    if (verdict.status != Status::ok) return verdict;
    verdict.first_score = one.overall;
    verdict.second_score = two.overall;
    verdict.winner = one.overall > two.overall   ? Verdict::Winner::first
                     : one.overall < two.overall ? Verdict::Winner::second
                                                 : Verdict::Winner::tie;
    return verdict;
  }
  int calls() const { return calls_; }

 private:
  Opinion opinion_;
  std::atomic<int> calls_ = 0;
};

class FakeScorer final : public Scorer {
 public:
  explicit FakeScorer(FakeJudge::Opinion opinion) : opinion_(std::move(opinion)) {}
  std::vector<Score> score(const Prompt& prompt, std::span<const Response> candidates) override {
    std::vector<Score> scores;
    for (const Response& candidate : candidates) scores.push_back(opinion_(prompt, candidate));
    return scores;
  }

 private:
  FakeJudge::Opinion opinion_;
};

// Rewards each response by a function of it; NaN means "not available".
class FakeRewardModel final : public RewardModel {
 public:
  using Function = std::function<double(const Prompt&, const Response&)>;
  explicit FakeRewardModel(Function function) : function_(std::move(function)) {}
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      std::vector<Reward>& row = all.emplace_back();
      for (const Response& response : request.responses) {
        const double value = function_(*request.prompt, response);
        row.push_back(value == value ? Reward{Status::ok, value}
                                     : Reward{Status::unavailable, value});
      }
    }
    return all;
  }

 private:
  Function function_;
};

// Streams the records of a vector.
template <class Record>
class VectorStream final : public Stream<Record> {
 public:
  explicit VectorStream(std::vector<Record> records) : records_(std::move(records)) {}
  bool next(Record& record) override {
    if (at_ == records_.size()) return false;
    record = records_[at_++];
    return true;
  }

 private:
  std::vector<Record> records_;
  std::size_t at_ = 0;
};

template <class Record>
std::vector<Record> drain(Stream<Record>& stream,
                          std::size_t limit = static_cast<std::size_t>(-1)) {
  std::vector<Record> records;
  Record record;
  while (records.size() < limit && stream.next(record)) {
    records.push_back(std::move(record));
    record = Record{};
  }
  return records;
}

inline Prompt sample_prompt(std::string id, std::string question, std::vector<Media> images = {}) {
  Prompt prompt;
  prompt.id = std::move(id);
  Message message;
  for (Media& image : images) message.content.push_back(Part::of_image(std::move(image)));
  message.content.push_back(Part::of_text(std::move(question)));
  prompt.messages = {std::move(message)};
  prompt.source = "sample";
  return prompt;
}

inline Response sample_response(std::string id, std::string text) {
  Response response;
  response.id = std::move(id);
  response.text = std::move(text);
  response.origin = "dataset";
  return response;
}

inline PreferencePair sample_pair(std::string id, std::string question, std::string chosen,
                                  std::string rejected) {
  PreferencePair pair;
  pair.id = id;
  pair.prompt = sample_prompt(id + "-prompt", std::move(question));
  pair.chosen = sample_response("chosen", std::move(chosen));
  pair.rejected = sample_response("rejected", std::move(rejected));
  pair.source = "sample";
  return pair;
}

// A picture of one colour with a darker square whose place and size depend on `seed`.
inline Image sample_image(int width = 16, int height = 16, std::uint64_t seed = 0) {
  Rng rng(seed);
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  const int left = rng.integer(0, width / 2), top = rng.integer(0, height / 2);
  const int side = rng.integer(1, std::max(1, std::min(width, height) / 2));
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int channel = 0; channel < 3; ++channel) {
        const bool inside = x >= left && x < left + side && y >= top && y < top + side;
        image.rgb[static_cast<std::size_t>((y * width + x) * 3 + channel)] =
            static_cast<std::uint8_t>(inside ? 40 : 120 + 40 * channel);
      }
  return image;
}

}  // namespace dt2it::testing
