// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "answer_text.hpp"
#include "core/nn/sampling.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::local {

// How one answer is written.
struct Draw {
  nn::SamplingSettings settings;
  std::int64_t max_tokens = 0;  // at least 1
  Rng rng;
};

// Answers many callers with one backbone. A thread of its own decodes all live answers together, a token each at a time;
// who has finished leaves, who waits joins. Callers with the same messages that wait at the same time share one prefill.
// What an answer says depends on its messages and its Draw only. Thread-safe.
class Engine {
 public:
  struct Options {
    std::size_t max_batch = 1;
    std::chrono::duration<double> max_wait{};  // how long a prompt waits for others of its kind
    int threads = 1;
    std::vector<std::string> stops;
  };
  Engine(std::shared_ptr<Backbone> backbone, Options options);
  // No caller may be waiting.
  ~Engine();

  // Waits for the answer. Throws what the backbone throws, ModelError when it fails in another way.
  ChatReply answer(const std::vector<Message>& messages, Draw draw);

 private:
  using Clock = std::chrono::steady_clock;
  struct Caller {
    Draw draw;
    std::promise<ChatReply> reply;
  };
  // Callers who asked the same before it was begun.
  struct Group {
    std::vector<Message> messages;
    Clock::time_point since;
    TokenTree prompt;
    bool ready = false;  // encoded
    std::vector<Caller> callers;
  };
  struct Live {
    Caller caller;
    std::size_t prompt_tokens;
    std::vector<std::int64_t> tokens;  // prompt and answer
    AnswerText text;
  };
  // Samples of one prompt that begin together.
  struct Start {
    TokenTree prompt;
    std::vector<Caller> callers;
  };

  void encode(Group& group);
  void run(const std::stop_token& stop);
  std::vector<Start> next_starts(const std::stop_token& stop);
  void begin(std::vector<Start>& starts);
  void step();
  std::optional<ChatReply> ended(Live& live, std::int64_t token) const;
  void fail(std::vector<Start>& starts);

  const std::shared_ptr<Backbone> backbone_;
  const Options options_;
  const std::string model_;
  const std::vector<std::int64_t> ends_;
  const std::shared_ptr<std::mutex> backbone_mutex_;  // of all engines on this backbone

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t changes_ = 0;
  std::list<std::shared_ptr<Group>> groups_;  // in order of arrival

  // Of the decoding thread.
  std::unique_ptr<Decoding> decoding_;
  std::vector<Live> live_;  // row by row

  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace dt2it::local
