// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the files of CallService share; nobody else's.

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/calls/call_service.hpp"
#include "core/calls/pace.hpp"
#include "core/calls/secrets.hpp"

namespace dt2it {

inline constexpr double kLongestToldWait =
    600;  // seconds; a server that asks for more counts as gone

inline constexpr std::size_t kUsesAtOnce = 1024;

// A commit waits for a quarter of the calls under way, for so many seconds at most: each costs a
// flush of the disk.
inline constexpr double kGather = 0.002;

double unix_seconds();
// Until attempt number `attempts` + 1, where the server has told how long (negative: it has not).
double retry_wait(const Endpoint& endpoint, int attempts, double told);

struct CallService::Gate {
  explicit Gate(const Endpoint& endpoint)
      : name(fmt::format("{} (model {})", endpoint.url, endpoint.model)),
        outage_limit(endpoint.outage_limit),
        pace(endpoint) {}

  const std::string name;
  const int outage_limit;
  std::mutex mutex;  // guards what follows
  Pace pace;
  std::deque<std::shared_ptr<Call>> ready;
  std::multimap<double, std::shared_ptr<Call>> delayed;  // by the time from which they may go
  std::string stopped;  // why no call is made any more; empty: calls are made
  int without_answer = 0;
  double counted = 0;              // answers whose usage the server said
  double prompt_ratio = 1;         // tokens that servers count, to our estimate
  double completion_tokens = 512;  // mean of late
};

class CallService::Managed final : public Mllm {
 public:
  Managed(CallService& service, std::shared_ptr<RemoteMllm> mllm, std::string stage,
          std::string name)
      : service(service),
        mllm(std::move(mllm)),
        stage(std::move(stage)),
        name(std::move(name)),
        endpoint(this->mllm->endpoint()),
        gate(service.gate(endpoint)),
        channel(service.loop_->channel(endpoint)) {}
  ChatReply chat(const ChatRequest& request) override {
    ChatReply reply = service.ask(*this, request);
    if (reply.status == Status::unavailable && CollectScope::current() &&
        reply.detail != kWaitsForBatch)
      CollectScope::current()->note_unanswered();
    return reply;
  }

  CallUse use(const ChatRequest& request, const CallKey& key, Status status, bool paid) const {
    return {stage, name, endpoint.url, endpoint.model, request.purpose, key, status, paid};
  }

  CallService& service;
  const std::shared_ptr<RemoteMllm> mllm;
  const std::string stage, name;
  const Endpoint& endpoint;
  const std::shared_ptr<Gate> gate;
  Channel* const channel;
};

struct CallService::Call : std::enable_shared_from_this<Call> {
  Managed* mllm = nullptr;  // lives while its caller waits
  const ChatRequest* request = nullptr;
  CallKey key;
  std::string request_text;
  Exchange exchange;
  std::uint32_t form = 0;
  std::shared_ptr<Call> self;  // while the HTTP thread has it
  int failures = 0, changes = 0, limited = 0;
  std::int64_t prompt_tokens = 0;  // as we count them
  double estimate = 0;             // tokens, for the pace
  int at_once = 0;                 // calls in flight when it was sent
  Budget::Amount reserved;
  StoredCall record;
  bool store = false;
  std::exception_ptr error;
  // No std::atomic::wait: that spins first, and answers take long.
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;

  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return done; });
  }
};

}  // namespace dt2it
