// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every answer that was paid for, in one SQLite file that all runs of a folder share.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/mllm.hpp"

struct sqlite3;

namespace dt2it {

using CallKey = std::string;  // 32 bytes: SHA-256 of identity and request text

CallKey call_key(std::string_view identity, std::string_view request_text);

struct StoredCall {
  CallKey key;
  std::string identity;  // JSON: endpoint or its family, model, what else decides an answer
  std::string model;     // as asked for
  std::string request;   // request_text(): images by hash
  std::string purpose;
  ChatReply reply;
  std::string answer;      // body as it came
  std::string request_id;  // the server's name for the call
  double cost = 0;
  double seconds = 0;
  std::int64_t time = 0;  // seconds since 1970
  bool usage_known = true;
};

// That a stage asked for a call, once however often: what the ledger is made of. Kept with the
// answers, so that it is right for runs that were killed and gone on with.
struct CallUse {
  std::string stage, mllm, endpoint, model, purpose;
  CallKey key;
  Status status = Status::ok;
  bool paid = false;  // this stage caused the call; else the answer was there
};

struct LedgerRow {
  std::string mllm, endpoint, model, purpose;
  std::int64_t calls = 0, paid = 0, failed = 0;  // different calls; failed: status is not ok
  std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;  // of what was paid
  double cost = 0;                                                           // likewise
  std::int64_t usage_unknown = 0;  // paid calls whose usage the server did not say: estimated
  std::string statuses;            // "ok 12, refused 1"
};

struct CallFilter {
  std::string model, purpose, status, key_prefix;  // hex; empty: all
  std::int64_t before = 0;                         // older than; 0: all
  std::int64_t limit = 0;                          // newest first; 0: all, oldest first
  std::string identity = {};                       // whole, as StoredCall has it; empty: all
};

// Thread-safe. Write-ahead log, flushed to disk with every commit: a process killed at any moment
// loses no answer that it had put, and a half-written one is not there.
class CallStore {
 public:
  // Creates the file and its folder when they are not there. Throws DataError for a file of another
  // kind.
  explicit CallStore(const std::filesystem::path& file);
  ~CallStore();
  CallStore(const CallStore&) = delete;
  CallStore& operator=(const CallStore&) = delete;

  std::optional<ChatReply> find(const CallKey& key);

  // All of them in one transaction; returns when they are on disk. A key that is there stays as it
  // is.
  void put(const std::vector<const StoredCall*>& calls, const std::vector<CallUse>& uses = {});

  // Of one stage, by MLLM, endpoint and purpose.
  std::vector<LedgerRow> ledger(const std::string& stage);

  // For people: whole records, one by one.
  void each(const CallFilter& filter, const std::function<void(const StoredCall&)>& use);
  std::int64_t remove(const CallFilter& filter);
  std::int64_t count();
  // Tokens that answers of this kind have had, on the average of the last thousand.
  std::optional<double> mean_answer(const std::string& model, const std::string& purpose);
  std::filesystem::path file() const { return file_; }

  // Batches under way, by the id that the server gave: kept before they are waited for. `keys`: one
  // call key (hex) a line. An empty server id: the file is uploaded, the batch perhaps not made.
  struct Batch {
    std::int64_t id = 0;
    std::string endpoint, model, file_id, server_id, keys;
  };
  std::int64_t add_batch(const Batch& batch);
  void update_batch(const Batch& batch);
  // The server has not taken it on: its server id is empty again, unless another process has made it anew since.
  void forget_server_id(const Batch& batch);
  // The batch is over; what its answers were to be stored with goes, too. Nothing happens where another process has
  // ended it or made it anew: what that one waits for may hold the same calls.
  void end_batch(const Batch& batch, const std::vector<CallKey>& keys);
  std::vector<Batch> batches(const std::string& endpoint, const std::string& model);
  // What answers of batches are stored with: key, identity, model, request, purpose, and for whom.
  struct Waiting {
    StoredCall call;
    CallUse use;
    std::uint32_t form = 0;  // as in WireRequest
  };
  void add_waiting(const std::vector<Waiting>& calls);
  std::optional<Waiting> waiting(const CallKey& key);

 private:
  struct Connection;
  class KnownKeys;
  std::unique_ptr<Connection> open() const;
  std::int64_t asker_of(const CallUse& use);
  std::int64_t model_of(const StoredCall& call);
  void look_at_keys();

  const std::filesystem::path file_;
  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Connection>> readers_;
  // A thousand callers look at once; a reader takes 150 KB, a look microseconds.
  std::counting_semaphore<> reading_{16};
  std::mutex writer_mutex_;
  std::unique_ptr<Connection> writer_;
  std::map<std::string, std::int64_t> askers_, models_;  // ids, guarded by writer_mutex_
  // So that new calls, which most are, need no look into the file.
  std::unique_ptr<KnownKeys> known_;     // set once, before known_until_
  std::optional<std::int64_t> version_;  // of the file when they were read
  std::atomic<double> known_until_{
      0};  // steady seconds until which it holds all keys that are stored
};

std::string hex_of(const CallKey& key);
CallKey key_of_hex(std::string_view hex);  // empty when it is none

}  // namespace dt2it
