// SPDX-License-Identifier: Apache-2.0
#pragma once

// Calls in batches: half the price, within a day. Plugin code stays straight-line: within a CollectScope a
// call that no answer is stored for is collected and returns at once, without an answer; the item it was made
// for is worked on again when the batches are done, and then finds the answer in the store.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/calls/call_store.hpp"
#include "core/util/file_lock.hpp"
#include "dt2it/context.hpp"
#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// One item's work in this thread. Without one, calls of a model with `batch` are sent at once.
class CollectScope {
 public:
  CollectScope();
  ~CollectScope();
  CollectScope(const CollectScope&) = delete;
  CollectScope& operator=(const CollectScope&) = delete;
  bool any() const { return waiting_ > 0; }  // what was made of the replies is worth nothing
  bool unanswered() const {
    return unanswered_;
  }  // some call had no answer: the next run may do better
  static CollectScope* current();
  void add() { ++waiting_; }
  void note_unanswered() { unanswered_ = true; }

 private:
  int waiting_ = 0;
  bool unanswered_ = false;
  CollectScope* const outer_;
};

// What a collected call returns meanwhile.
inline constexpr const char* kWaitsForBatch = "waits for its batch";

class Batches {
 public:
  struct Limits {
    std::size_t lines = 50000;
    std::size_t bytes = 190 << 20;  // of a file: the service takes 200 MB
    int rounds = 5;                 // of a call that batches did not get to
  };
  // One request with an endpoint's headers, POST unless `body` is empty.
  struct Sending {
    std::string url, content_type = {};
    std::vector<std::shared_ptr<const std::string>> body = {};
    bool large = false;       // a whole file goes or comes
    std::FILE* to = nullptr;  // takes the body of an answer with status 200
    // Set: what the request makes must not be made twice. Asked before each further attempt: is it there, and only
    // the answer was lost?
    std::function<bool()> made = {};
  };
  // Gives the answer after as many attempts as the endpoint has.
  using Send = std::function<HttpAnswer(const Endpoint& endpoint, const Sending& sending)>;
  using Log = std::function<void(LogLevel, std::string_view)>;

  // A call's batch is over, at this price.
  using Settle = std::function<void(const CallKey& key, double cost, std::int64_t tokens)>;

  Batches(CallStore& store, Send send, Settle settle, Log log, Limits limits);

  // A call that is needed. True: it waits for a batch now. False: `reply` holds how its batch ended without an
  // answer that is kept.
  bool collect(const std::shared_ptr<RemoteMllm>& model, CallStore::Waiting call,
               const WireRequest& wire, ChatReply& reply);

  // Sends what was collected and waits for all batches of these models, also those of a process that was
  // killed. Answers are in the store then. False: `stop` was set; what was sent goes on over there. Throws
  // ModelError when a batch was refused as a whole or the endpoint cannot be used; what had no answer is asked for
  // anew then.
  bool finish(const std::atomic<bool>& stop);

 private:
  struct Group {                        // one endpoint and model
    std::shared_ptr<RemoteMllm> model;  // the stage that it was made for may end before
    std::vector<std::pair<std::filesystem::path, std::vector<CallKey>>>
        files;  // the last is being filled
    std::size_t bytes = 0;
    bool looked = false;                      // for those under way
    std::unordered_set<CallKey> under_way;    // in batches of a process that was killed
    std::vector<CallStore::Waiting> unsaved;  // not on disk yet
    bool full = false;  // the server's queue, and none of our batches has ended since
  };
  struct Open {  // a batch that is waited for
    Group* group;
    CallStore::Batch batch;  // without server_id: the queue was full, it is made again
    std::string status = {};
    int missed = 0;  // looks in a row that did not find it
    bool over = false;
  };
  struct Taken {
    std::string stopped;  // why the endpoint cannot be used; mostly empty
    bool gone = false;    // the file
  };
  static std::string name_of(const Endpoint& endpoint);
  bool send_and_wait(std::map<std::string, Group>& groups, const std::atomic<bool>& stop);
  std::unique_ptr<FileLock> making(const std::atomic<bool>& stop);
  void save(Group& group);
  void submit(const Endpoint& endpoint, Group& group);
  bool create(const Endpoint& endpoint, CallStore::Batch& batch, bool uploaded_now);
  void find(const Endpoint& endpoint, const std::vector<CallStore::Batch*>& lost);
  void find_lost(const Endpoint& endpoint, std::vector<CallStore::Batch>& batches);
  bool make_more(std::vector<Open>& open, const std::atomic<bool>& stop);
  bool poll(Open& one, const std::vector<Open>& open);
  bool told_off(Open& one, const std::vector<Open>& open, const std::string& why);
  Taken take(RemoteMllm& model, const std::string& file_id);
  HttpAnswer get(const Endpoint& endpoint, const std::string& url);
  void end(const CallStore::Batch& batch, bool tried);
  void let_go(const std::vector<CallKey>& keys, bool tried);
  void keep(std::map<std::string, Group>& groups);

  CallStore& store_;
  const Send send_;
  const Settle settle_;
  const Log log_;
  const Limits limits_;
  std::mutex finishing_;  // one at a time: stages may need the same calls
  std::mutex mutex_;      // guards what follows
  bool tidied_ = false;   // files of processes that were killed are removed
  std::map<std::string, Group> groups_;
  std::map<std::string, std::size_t> lines_;  // of a batch, where a server takes fewer at once
  std::unordered_set<CallKey> collected_;
  std::unordered_set<CallKey> awaited_;     // those of them that finish() is at, and has not let go
  std::unordered_map<CallKey, int> tried_;  // batches that a call was in
  std::unordered_map<CallKey, ChatReply> failed_;
};

}  // namespace dt2it
