// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/media/passing_media_store.hpp"
#include "core/serve/remote_image.hpp"
#include "core/serve/reward_api.hpp"
#include "dt2it/context.hpp"

namespace dt2it {

struct ServeOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;       // 0: any that is free
  std::string model = "model";  // as requests and answers name it
  std::string key;              // empty: none is asked for
  ApiLimits api;
  RemoteImageRules remote;
  std::size_t tokens_per_group = 16384;
  std::size_t body_bytes = 64u << 20;
  std::size_t requests = 128;      // read, waiting or at work at once; more get 429
  std::size_t connections = 1024;  // more are closed
  double read_seconds = 30;        // for a request's head, for its body, for all it has fetched
  double idle_seconds = 75;        // between requests of a connection
  double answer_seconds = 300;     // from a request's body to its turn
  int threads = 2;                 // that read requests
};

// A reward model behind HTTP (docs/serving.md). One thread does the network, `threads` read
// requests and images, one asks the model. How many requests are in the house is bounded, and with
// it memory and the time that an accepted one waits.
class RewardServer {
 public:
  // Listens when it returns. Throws ConfigError where it cannot. The model and the store must
  // outlive it; nobody else may use the model.
  RewardServer(RewardModel& model, PassingMediaStore& media, ServeOptions options,
               std::function<void(LogLevel, std::string_view)> log);
  ~RewardServer();  // stops
  RewardServer(const RewardServer&) = delete;
  RewardServer& operator=(const RewardServer&) = delete;

  std::uint16_t port() const;
  // Takes no more requests, answers those that are in the house, closes. Returns when that is done.
  // Any thread, once.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dt2it
