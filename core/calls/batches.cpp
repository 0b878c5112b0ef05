// SPDX-License-Identifier: Apache-2.0
#include "core/calls/batches.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "core/calls/request_text.hpp"
#include "core/calls/secrets.hpp"
#include "core/calls/token_estimate.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

using simdjson::dom::element;

thread_local CollectScope* current_scope = nullptr;

constexpr int kLooks = 3;  // at what the server does not know, until it counts as gone
constexpr std::size_t kPutAtOnce = 500;  // answers in one commit
constexpr std::string_view kQueueFull = "token_limit_exceeded";

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? "" : std::string(text);
}

// A base URL may have a query behind it, such as Azure's api-version.
std::string below(const std::string& url, const std::string& path) {
  const std::size_t query = url.find('?');
  return url.substr(0, query) + path + (query == std::string::npos ? "" : url.substr(query));
}

std::string with_query(const std::string& url, const std::string& more) {
  return url + (url.find('?') == std::string::npos ? '?' : '&') + more;
}

bool is_gone(const HttpAnswer& answer) { return answer.status == 404 || answer.status == 410; }

std::string what_came(const HttpAnswer& answer) {
  return answer.status == 0 ? answer.problem
                            : fmt::format("HTTP {}: {}", answer.status, answer.body.substr(0, 500));
}

element parsed(simdjson::dom::parser& parser, const HttpAnswer& answer, const std::string& url) {
  element root;
  if (answer.status == 200 && !parser.parse(answer.body).get(root)) return root;
  throw ModelError(
      fmt::format("{}: {}. What is done is kept; run again to go on", url, what_came(answer)));
}

// What cannot be done without: no batch is waited for that has no name or state.
std::string needed(const element& object, const char* key, const std::string& url) {
  std::string text = text_of(object, key);
  if (text.empty())
    throw ModelError(
        fmt::format("{}: the answer has no \"{}\": {}. What is done is kept; run again to go on",
                    url, key, simdjson::minify(object).substr(0, 500)));
  return text;
}

std::vector<CallKey> keys_of(const std::string& lines) {
  std::vector<CallKey> keys;
  for (std::size_t at = 0; at < lines.size(); at += 65)
    if (CallKey key = key_of_hex(std::string_view(lines).substr(at, 64)); !key.empty())
      keys.push_back(std::move(key));
  return keys;
}

// A name of our own for a batch, by which it is found again when the answer to its making was lost.
std::string mark_of(const CallStore::Batch& batch) {
  return hex_of(call_key(batch.file_id, batch.keys)).substr(0, 32);
}

std::size_t size_of(const CallStore::Batch& batch) { return batch.keys.size() / 65; }

// The lines of a file, one by one, in memory that is used again.
class FileLines {
 public:
  explicit FileLines(std::FILE* file) : file_(file) { std::rewind(file_); }
  ~FileLines() { std::free(line_); }
  FileLines(const FileLines&) = delete;
  FileLines& operator=(const FileLines&) = delete;
  bool next(std::string& line) {
    const ssize_t size = ::getline(&line_, &room_, file_);
    if (size < 0) return false;
    line.assign(line_, static_cast<std::size_t>(size));
    return true;
  }

 private:
  std::FILE* const file_;
  char* line_ = nullptr;
  std::size_t room_ = 0;
};

// A new file in the store's folder, of a name that nobody else has, also not on another machine.
std::FILE* new_file(const CallStore& store, std::string& path) {
  path = (store.file().parent_path() / "batch-XXXXXX.jsonl").string();
  const int descriptor = ::mkostemps(path.data(), 6, O_CLOEXEC);
  std::FILE* file = descriptor < 0 ? nullptr : ::fdopen(descriptor, "w+b");
  if (!file) throw Error(fmt::format("{}: {}", path, std::strerror(errno)));
  return file;
}

// What a process that was killed had collected and not sent. Files that others are filling are younger.
void remove_stale_files(const fs::path& folder) {
  std::error_code ignored;
  const auto limit = fs::file_time_type::clock::now() - std::chrono::hours(48);
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("batch-") && name.ends_with(".jsonl") &&
        entry.last_write_time(ignored) < limit)
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace

CollectScope::CollectScope() : outer_(current_scope) { current_scope = this; }
CollectScope::~CollectScope() { current_scope = outer_; }
CollectScope* CollectScope::current() { return current_scope; }

Batches::Batches(CallStore& store, Send send, Settle settle, Log log, Limits limits)
    : store_(store),
      send_(std::move(send)),
      settle_(std::move(settle)),
      log_(std::move(log)),
      limits_(limits) {}

void Batches::save(Group& group) {
  store_.add_waiting(group.unsaved);
  group.unsaved.clear();
}

std::string Batches::name_of(const Endpoint& endpoint) {
  return endpoint.url + "\n" + endpoint.model;
}

bool Batches::collect(const std::shared_ptr<RemoteMllm>& model, CallStore::Waiting waiting,
                      const WireRequest& wire, ChatReply& reply) {
  const CallKey key = waiting.call.key;
  const Endpoint& endpoint = model->endpoint();
  std::lock_guard lock(mutex_);
  if (const auto failed = failed_.find(key); failed != failed_.end()) {
    reply = failed->second;
    return false;
  }
  if (const auto tried = tried_.find(key);
      tried != tried_.end() && tried->second >= limits_.rounds && !collected_.contains(key)) {
    reply.status = Status::unavailable;
    reply.detail = fmt::format("{} batches ended before this call was worked on", limits_.rounds);
    return false;
  }
  // Also where it waits already: then finish() knows by whom to ask for its batch.
  const std::string name = name_of(endpoint);
  Group& group = groups_[name];
  group.model = model;
  if (!std::exchange(group.looked, true))
    for (const CallStore::Batch& batch : store_.batches(endpoint.url, endpoint.model))
      for (CallKey& one : keys_of(batch.keys)) group.under_way.insert(std::move(one));
  if (collected_.contains(key)) return true;
  if (group.under_way.contains(key)) return collected_.insert(key).second;  // not sent
  std::string line = fmt::format(R"({{"custom_id":"{}","method":"POST","url":"{}","body":)",
                                 hex_of(key), endpoint.batch_path);
  for (const auto& piece : wire.body) line += *piece;
  line += "}\n";
  if (line.size() > limits_.bytes)
    throw DataError(fmt::format("a call of {} bytes is more than a batch may hold", line.size()));
  if (!std::exchange(tidied_, true)) remove_stale_files(store_.file().parent_path());
  const auto fewer = lines_.find(name);
  const std::size_t most = fewer == lines_.end() ? limits_.lines : fewer->second;
  if (group.files.empty() || group.files.back().second.size() >= most ||
      group.bytes + line.size() > limits_.bytes) {
    std::string path;
    std::fclose(new_file(store_, path));
    group.files.emplace_back(path, std::vector<CallKey>{});
    group.bytes = 0;
  }
  std::ofstream file(group.files.back().first, std::ios::binary | std::ios::app);
  file.write(line.data(), static_cast<std::streamsize>(line.size()));
  if (!file.flush()) {
    file.close();
    std::error_code ignored;
    fs::resize_file(group.files.back().first, group.bytes, ignored);  // no half lines
    throw Error(fmt::format("{}: cannot be written", group.files.back().first.string()));
  }
  group.bytes += line.size();
  group.files.back().second.push_back(key);
  collected_.insert(key);
  group.unsaved.push_back(std::move(waiting));
  if (group.unsaved.size() >= 500) save(group);
  return true;
}

// Held while batches are made: another process that is at work on this folder would take ours for lost, and make
// them as well. Ordinary calls do not ask for it. Null: `stop` was set.
std::unique_ptr<FileLock> Batches::making(const std::atomic<bool>& stop) {
  const fs::path file = store_.file().string() + ".batches.lock";
  std::string holder;
  for (bool said = false;; said = true) {
    if (auto lock = FileLock::try_lock(file, holder)) return lock;
    if (stop.load()) return nullptr;
    if (!said) log_(LogLevel::info, fmt::format("{} makes batches; waiting for it", holder));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// Uploads the files; each batch is noted durably before the next step.
void Batches::submit(const Endpoint& endpoint, Group& group) {
  save(group);
  std::unordered_set<CallKey> elsewhere;  // sent by another process after we had looked
  for (const CallStore::Batch& batch : store_.batches(endpoint.url, endpoint.model))
    for (CallKey& key : keys_of(batch.keys)) elsewhere.insert(std::move(key));
  while (!group.files.empty()) {
    const auto& [path, keys] = group.files.front();
    auto lines = std::make_shared<std::string>(read_file(path));
    CallStore::Batch batch;
    std::vector<CallKey> done;
    std::size_t at = 0, kept = 0;
    for (const CallKey& key : keys) {
      const std::size_t size = std::min(lines->find('\n', at), lines->size() - 1) + 1 - at;
      const bool waited_for = elsewhere.contains(key);
      // Without a record its answer would be nobody's. It is collected again.
      if (!waited_for && (store_.find(key) || !store_.waiting(key))) {
        done.push_back(key);
      } else if (!waited_for) {
        if (kept < at) std::memmove(&(*lines)[kept], &(*lines)[at], size);
        kept += size;
        batch.keys += hex_of(key) + "\n";
      }
      at += size;
    }
    lines->resize(kept);
    let_go(done, false);
    if (!lines->empty()) {
      constexpr const char* kBoundary = "dt2it-7f3a9c51e2";
      auto head = std::make_shared<const std::string>(fmt::format(
          "--{0}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{0}\r\n"
          "Content-Disposition: form-data; name=\"file\"; filename=\"batch.jsonl\"\r\n"
          "Content-Type: application/jsonl\r\n\r\n",
          kBoundary));
      auto tail = std::make_shared<const std::string>(fmt::format("\r\n--{}--\r\n", kBoundary));
      Sending upload{.url = endpoint.files_url,
                     .content_type = std::string("multipart/form-data; boundary=") + kBoundary,
                     .body = {head, std::move(lines), tail},
                     .large = true};
      simdjson::dom::parser parser;
      const element file = parsed(parser, send_(endpoint, upload), endpoint.files_url);
      batch.endpoint = endpoint.url;
      batch.model = endpoint.model;
      batch.file_id = needed(file, "id", endpoint.files_url);
      batch.id = store_.add_batch(batch);
    }
    fs::remove(path);
    group.files.erase(group.files.begin());
    if (batch.id != 0) create(endpoint, batch, true);
  }
}

// False: the server does not take the file any more, and nothing was made.
bool Batches::create(const Endpoint& endpoint, CallStore::Batch& batch, bool uploaded_now) {
  const auto body = std::make_shared<const std::string>(fmt::format(
      R"({{"input_file_id":"{}","endpoint":"{}","completion_window":"24h","metadata":{{"dt2it":"{}"}}}})",
      batch.file_id, endpoint.batch_path, mark_of(batch)));
  const HttpAnswer answer = send_(endpoint, {.url = endpoint.batches_url,
                                             .content_type = "application/json",
                                             .body = {body},
                                             .made = [&] {
                                               find(endpoint, {&batch});
                                               return !batch.server_id.empty();
                                             }});
  if (batch.server_id.empty()) {
    if (!uploaded_now && (answer.status == 400 || is_gone(answer))) {
      log_(LogLevel::warning,
           fmt::format("{} makes no batch of file {} any more ({}): its {} calls go into the next",
                       endpoint.url, batch.file_id, what_came(answer), size_of(batch)));
      return false;
    }
    simdjson::dom::parser parser;
    batch.server_id =
        needed(parsed(parser, answer, endpoint.batches_url), "id", endpoint.batches_url);
    store_.update_batch(batch);
  }
  log_(LogLevel::info, fmt::format("batch {} with {} calls to {} ({}) is on its way",
                                   batch.server_id, size_of(batch), endpoint.model, endpoint.url));
  return true;
}

HttpAnswer Batches::get(const Endpoint& endpoint, const std::string& url) {
  return send_(endpoint, {.url = url});
}

// The lines of an output or error file, in any order. It may be large: on disk, and answers are kept as they are
// read. Read once more it does no harm.
Batches::Taken Batches::take(RemoteMllm& model, const std::string& file_id) {
  Taken taken;
  const Endpoint& endpoint = model.endpoint();
  std::string path;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> output(new_file(store_, path), std::fclose);
  fs::remove(path);  // it lives as long as it is open
  const std::string url = below(endpoint.files_url, "/" + file_id + "/content");
  const HttpAnswer file = send_(endpoint, {.url = url, .large = true, .to = output.get()});
  if (is_gone(file)) {
    taken.gone = true;
    return taken;
  }
  if (file.status != 200)
    throw ModelError(
        fmt::format("{}: {}. What is done is kept; run again to go on", url, what_came(file)));
  std::vector<CallStore::Waiting> done;
  const auto put = [&] {
    std::vector<const StoredCall*> records;
    std::vector<CallUse> uses;
    for (const CallStore::Waiting& one : done) {
      records.push_back(&one.call);
      uses.push_back(one.use);
    }
    if (!records.empty()) store_.put(records, uses);
    // Only what is kept counts: until then it is set aside.
    for (const StoredCall* call : records)
      settle_(call->key, call->cost,
              call->reply.usage.prompt_tokens + call->reply.usage.completion_tokens);
    done.clear();
  };
  simdjson::dom::parser parser;
  FileLines lines(output.get());
  for (std::string line; lines.next(line);) {
    blot_out(line, endpoint.secret);
    element root, response, body;
    if (parser.parse(simdjson::padded_string(line)).get(root)) continue;
    const CallKey key = key_of_hex(text_of(root, "custom_id"));
    if (key.empty() || root.at_key("response").get(response) || !response.is_object())
      continue;  // not got to
    std::optional<CallStore::Waiting> waiting = store_.waiting(key);
    if (!waiting) continue;  // not ours, or taken before
    StoredCall& call = waiting->call;
    HttpAnswer answer;
    std::int64_t status = 0;
    if (!response.at_key("status_code").get(status)) answer.status = static_cast<long>(status);
    if (!response.at_key("body").get(body)) answer.body = simdjson::minify(body);
    const ChatRequest request = request_of(call.request);
    WireReading reading = model.read(request, waiting->form, answer);
    blot_out(reading, endpoint.secret);
    switch (reading.next) {
      case WireReading::Next::retry:
      case WireReading::Next::changed: continue;  // in the next batch
      case WireReading::Next::stop: taken.stopped = reading.problem; continue;
      case WireReading::Next::done: break;
    }
    call.reply = std::move(reading.reply);
    if (answer.status != 200 || call.reply.status == Status::invalid ||
        call.reply.status == Status::unavailable) {
      std::lock_guard lock(mutex_);
      failed_[key] = call.reply;
      continue;
    }
    call.usage_known = reading.usage_known;
    if (!reading.usage_known) {
      call.reply.usage.prompt_tokens = prompt_tokens(request, endpoint.image_tokens);
      call.reply.usage.completion_tokens = static_cast<std::int64_t>(call.reply.text.size() / 4);
    }
    call.answer = std::move(answer.body);
    call.request_id = text_of(response, "request_id");
    call.cost = cost_of(call.reply.usage, endpoint.prices, true);
    call.time = std::time(nullptr);
    waiting->use.status = call.reply.status;
    done.push_back(std::move(*waiting));
    if (done.size() >= kPutAtOnce) put();
  }
  put();
  if (std::ferror(output.get()))
    throw Error(fmt::format("{}: reading stopped with an error", path));
  return taken;
}

// The batch is over, and its calls may be collected anew.
void Batches::end(const CallStore::Batch& batch, bool tried) {
  const std::vector<CallKey> keys = keys_of(batch.keys);
  store_.end_batch(batch, keys);
  let_go(keys, tried);
}

void Batches::let_go(const std::vector<CallKey>& keys, bool tried) {
  std::lock_guard lock(mutex_);
  for (const CallKey& key : keys) {
    collected_.erase(key);
    awaited_.erase(key);
    for (auto& [name, group] : groups_) group.under_way.erase(key);
    if (tried) ++tried_[key];
    settle_(key, 0, 0);  // where there was no answer
  }
}

// True: the batch is over, one way or another, and what it gave is kept.
bool Batches::poll(Open& one, const std::vector<Open>& open) {
  RemoteMllm& model = *one.group->model;
  const Endpoint& endpoint = model.endpoint();
  const CallStore::Batch& batch = one.batch;
  const std::string url = below(endpoint.batches_url, "/" + batch.server_id);
  const HttpAnswer answer = get(endpoint, url);
  // Deleted, or another project's. Not at once: it may be too new, or a gateway astray.
  bool gone = is_gone(answer);
  if (gone && ++one.missed < kLooks) return false;
  simdjson::dom::parser parser;
  std::string why, stopped;
  if (!gone) {
    const element state = parsed(parser, answer, url);
    one.status = needed(state, "status", url);
    if (one.status != "completed" && one.status != "failed" && one.status != "expired" &&
        one.status != "cancelled") {
      one.missed = 0;
      return false;
    }
    std::string code;
    if (element first; !state.at_pointer("/errors/data/0").get(first)) {
      code = text_of(first, "code");
      why = code + (code.empty() ? "" : ": ") + text_of(first, "message");
      blot_out(why, endpoint.secret);
    }
    if (one.status == "failed" && code == kQueueFull) return told_off(one, open, why);
    for (const char* which : {"output_file_id", "error_file_id"}) {
      const std::string file = text_of(state, which);
      if (file.empty()) continue;
      const Taken taken = take(model, file);
      if (stopped.empty()) stopped = taken.stopped;
      gone = gone || taken.gone;
    }
    if (gone && ++one.missed < kLooks) return false;
  }
  const bool refused = !gone && one.status == "failed";
  end(batch, !refused);
  one.group->full = false;
  if (gone)
    log_(LogLevel::warning,
         fmt::format("batch {} with {} calls, or a file of it, is not known to {} any more: calls "
                     "without an answer go into the next",
                     batch.server_id, size_of(batch), endpoint.url));
  else
    log_(one.status == "completed" ? LogLevel::info : LogLevel::warning,
         fmt::format("batch {} is {}{}{}", batch.server_id, one.status, why.empty() ? "" : ": ",
                     why));
  if (refused)
    throw ModelError(
        fmt::format("{} (model {}) refused batch {} with {} calls: {}. What is done is kept; run "
                    "again to ask for them anew",
                    endpoint.url, endpoint.model, batch.server_id, size_of(batch),
                    why.empty() ? "it gave no reason" : why));
  if (!stopped.empty())
    throw ModelError(fmt::format("{} (model {}) cannot be used: {}. What is done is kept",
                                 endpoint.url, endpoint.model, stopped));
  return true;
}

// The server's queue had no room for the batch; nothing of it was worked on or paid for. It is made again when
// another has ended. When it was alone there, its calls go into smaller ones.
bool Batches::told_off(Open& one, const std::vector<Open>& open, const std::string& why) {
  const Endpoint& endpoint = one.group->model->endpoint();
  const std::size_t size = size_of(one.batch);
  const bool alone = std::none_of(open.begin(), open.end(), [&](const Open& other) {
    return &other != &one && other.group == one.group && !other.over &&
           !other.batch.server_id.empty();
  });
  log_(LogLevel::info,
       fmt::format("batch {} with {} calls has to wait: {}", one.batch.server_id, size, why));
  if (!alone) {
    store_.forget_server_id(one.batch);
    one.batch.server_id.clear();
    one.group->full = true;
    return false;
  }
  end(one.batch, false);
  one.group->full = false;
  if (size <= 1)
    throw ModelError(
        fmt::format("{} (model {}) has no room for a batch of a single call: {}. What is done is "
                    "kept; run again to go on",
                    endpoint.url, endpoint.model, why));
  std::lock_guard lock(mutex_);
  std::size_t& lines = lines_.try_emplace(name_of(endpoint), limits_.lines).first->second;
  lines = std::max<std::size_t>(1, std::min(lines, size / 2));
  return true;
}

// Looks for batches among the server's: whether they were made is not known. Those that the server has refused do
// not count.
void Batches::find(const Endpoint& endpoint, const std::vector<CallStore::Batch*>& lost) {
  const auto is_lost = [](const CallStore::Batch* batch) { return batch->server_id.empty(); };
  std::string after;
  for (bool more = true; more && std::any_of(lost.begin(), lost.end(), is_lost);) {
    simdjson::dom::parser parser;
    const std::string url =
        with_query(endpoint.batches_url, "limit=100" + (after.empty() ? "" : "&after=" + after));
    const element list = parsed(parser, get(endpoint, url), url);
    more = !list.at_key("has_more").get(more) && more;
    simdjson::dom::array made;
    if (list.at_key("data").get(made) || made.size() == 0) break;
    for (const element one : made) {
      after = text_of(one, "id");
      element metadata;
      if (one.at_key("metadata").get(metadata) || text_of(one, "status") == "failed") continue;
      for (CallStore::Batch* batch : lost)
        if (is_lost(batch) && text_of(metadata, "dt2it") == mark_of(*batch)) {
          batch->server_id = after;
          store_.update_batch(*batch);
        }
    }
  }
}

// Batches whose file was uploaded, perhaps by a process that was killed before it knew whether they were made: they
// are among the server's, or are made now.
void Batches::find_lost(const Endpoint& endpoint, std::vector<CallStore::Batch>& batches) {
  std::vector<CallStore::Batch*> lost;
  for (CallStore::Batch& batch : batches)
    if (batch.server_id.empty()) lost.push_back(&batch);
  find(endpoint, lost);
  std::erase_if(batches, [&](CallStore::Batch& batch) {
    if (!batch.server_id.empty() || create(endpoint, batch, false)) return false;
    end(batch, true);
    return true;
  });
}

// Batches that the server's queue had no room for are made again, one after the other. False: `stop` was set.
bool Batches::make_more(std::vector<Open>& open, const std::atomic<bool>& stop) {
  for (Open& one : open) {
    if (!one.batch.server_id.empty()) continue;
    bool others = false, in_doubt = false;
    for (const Open& other : open)
      if (other.group == one.group && !other.batch.server_id.empty()) {
        others = true;
        in_doubt = in_doubt || other.status.empty() || other.status == "validating";
      }
    if (in_doubt || (others && one.group->full)) continue;
    const std::unique_ptr<FileLock> lock = making(stop);
    if (!lock) return false;
    const Endpoint& endpoint = one.group->model->endpoint();
    std::vector<CallStore::Batch> row = store_.batches(endpoint.url, endpoint.model);
    std::erase_if(row, [&](const CallStore::Batch& batch) { return batch.id != one.batch.id; });
    if (row.empty()) {  // another process has seen its end
      let_go(keys_of(one.batch.keys), false);
    } else {
      find_lost(endpoint, row);
    }
    one.over = row.empty();
    one.status.clear();
    if (!one.over) one.batch = std::move(row.front());
  }
  std::erase_if(open, [](const Open& one) { return one.over; });
  return true;
}

bool Batches::send_and_wait(std::map<std::string, Group>& groups, const std::atomic<bool>& stop) {
  // All are sent before the first is waited for.
  std::vector<Open> open;
  double pause = 3600;
  if (!groups.empty()) {
    const std::unique_ptr<FileLock> lock = making(stop);
    if (!lock) return false;
    for (auto& [name, group] : groups) {
      const Endpoint& endpoint = group.model->endpoint();
      submit(endpoint, group);
      std::vector<CallStore::Batch> batches = store_.batches(endpoint.url, endpoint.model);
      find_lost(endpoint, batches);
      for (CallStore::Batch& batch : batches) open.push_back({&group, std::move(batch)});
      pause = std::min(pause, endpoint.batch_poll_seconds);
    }
  }
  for (;;) {
    for (Open& one : open)
      if (!one.batch.server_id.empty()) one.over = poll(one, open);
    std::erase_if(open, [](const Open& one) { return one.over; });
    if (!make_more(open, stop)) return false;
    if (open.empty()) return true;
    for (double waited = 0; waited < pause; waited += 0.05) {
      if (stop.load()) return false;
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, pause)));
    }
  }
}

// What was not sent is collected again; what is under way is waited for by the next finish(), which may be another
// stage's.
void Batches::keep(std::map<std::string, Group>& groups) {
  for (auto& [name, group] : groups) {
    for (const auto& [path, keys] : group.files) {
      std::error_code ignored;
      fs::remove(path, ignored);
      let_go(keys, false);
    }
    const Endpoint& endpoint = group.model->endpoint();
    std::lock_guard lock(mutex_);
    if (store_.batches(endpoint.url, endpoint.model).empty()) continue;
    Group& there = groups_[name];
    if (!there.model) there.model = group.model;
  }
  std::lock_guard lock(mutex_);
  awaited_.clear();
}

bool Batches::finish(const std::atomic<bool>& stop) {
  std::lock_guard one_at_a_time(finishing_);
  std::map<std::string, Group> groups;
  {
    std::lock_guard lock(mutex_);
    groups.swap(groups_);
    awaited_ = collected_;
  }
  try {
    if (!send_and_wait(groups, stop)) {
      keep(groups);
      return false;
    }
  } catch (...) {
    keep(groups);
    throw;
  }
  // Another process may have seen the end of batches before we looked.
  let_go({awaited_.begin(), awaited_.end()}, false);
  return true;
}

}  // namespace dt2it
