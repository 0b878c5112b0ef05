// SPDX-License-Identifier: Apache-2.0
#pragma once

// What every call of a remote model passes, invisible to plugins: identical calls in flight are
// one; an answer that is stored is not asked for again; the budget is asked; the endpoint's pace is
// kept; passing trouble is tried again; an answer is on disk before the caller gets it.
//
//   caller's thread    store, request written by the plugin, budget     -> waits
//   HTTP thread        pace; libcurl, or PlainHttp
//   finishing thread   answer read by the plugin, retries; many in one commit -> callers go on

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/calls/batches.hpp"
#include "core/calls/budget.hpp"
#include "core/calls/call_store.hpp"
#include "core/calls/http_loop.hpp"
#include "dt2it/context.hpp"
#include "dt2it/remote_mllm.hpp"

namespace dt2it {

struct CallOptions {
  std::filesystem::path store;  // file
  double max_cost = 0;          // 0: no cap
  std::int64_t max_tokens = 0;
  bool offline = false;  // answers come from the store only
  Batches::Limits batches = {};
  // Set: nothing is sent or stored; requests are shown to this, and answered with `unavailable`.
  // For plans.
  std::function<void(const std::string& mllm, const Endpoint& endpoint, const ChatRequest& request)>
      probe = {};
};

// Thread-safe.
class CallService {
 public:
  using Log = std::function<void(LogLevel, std::string_view)>;
  CallService(CallOptions options, Log log);
  ~CallService();
  CallService(const CallService&) = delete;
  CallService& operator=(const CallService&) = delete;

  // The model as plugins get it: a remote one by way of this service, any other as it is. `stage`
  // and `name` are what the ledger says. The service outlives what it returns.
  std::shared_ptr<Mllm> manage(std::shared_ptr<Mllm> mllm, const std::string& stage,
                               const std::string& name);

  // Of one stage, over all processes that worked on it.
  std::vector<LedgerRow> ledger(const std::string& stage);
  // What stages have spent before counts towards the caps.
  void count_spent(const std::vector<std::string>& stages);

  // Sends what CollectScopes have collected and waits for it. False: `stop` was set.
  bool finish_batches(const std::atomic<bool>& stop);

  CallStore& store();

 private:
  struct Call;
  struct Gate;  // one endpoint and model
  class Managed;

  ChatReply ask(Managed& mllm, const ChatRequest& request);
  std::shared_ptr<Gate> gate(const Endpoint& endpoint);
  void send(const std::shared_ptr<Call>& call, double delay);
  double turn(HttpLoop& loop, double now);
  void arrived(std::vector<Exchange*>& finished);
  void finish_all();
  bool finish(Call& call);  // false: it is sent again
  bool settle(Call& call, Status status, const std::string& detail,
              const Budget::Amount& spent = {});
  void stop(Gate& gate, const std::string& reason);
  void release(const std::shared_ptr<Call>& call);
  void note_use(CallUse use);
  bool reserve(const CallKey& key, const Budget::Amount& amount, bool as_batch);
  void give_back(const CallKey& key, const Budget::Amount& spent);
  HttpAnswer exchange(const Endpoint& endpoint, const Batches::Sending& sending);

  const CallOptions options_;
  const Log log_;
  Budget budget_;
  std::once_flag store_once_;
  std::unique_ptr<CallStore> store_;

  struct InFlight {
    std::mutex mutex;
    std::unordered_map<CallKey, std::shared_ptr<Call>> calls;
  };
  static constexpr std::size_t kShards = 16;
  InFlight in_flight_[kShards];
  InFlight& shard(const CallKey& key) {
    return in_flight_[static_cast<unsigned char>(key[0]) % kShards];
  }

  std::mutex gates_mutex_;
  std::unordered_map<std::string, std::shared_ptr<Gate>> gates_;

  std::mutex arrived_mutex_;
  std::condition_variable arrived_changed_;
  std::vector<std::shared_ptr<Call>> arrived_;
  std::vector<CallUse> uses_;
  std::atomic<int> under_way_{0};  // calls whose callers wait for an answer
  bool enough_arrived() const {
    return arrived_.size() * 4 >= static_cast<std::size_t>(under_way_.load());
  }
  bool over_ = false;

  std::unique_ptr<Batches> batches_;
  std::mutex set_aside_mutex_;
  std::unordered_map<CallKey, Budget::Amount> set_aside_;  // for calls in batches
  std::mutex plain_mutex_;
  std::condition_variable plain_changed_;
  std::vector<Exchange*> plain_;  // that wait to be started, beside the calls

  std::unique_ptr<HttpLoop> loop_;
  std::once_flag loop_once_;
  std::thread finisher_;
};

}  // namespace dt2it
